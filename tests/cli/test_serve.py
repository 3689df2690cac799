"""`autoglm serve` as a process, over stand-ins for the real services."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from cli.serve import curl
from cli.topology import Topology

SCRIPT = """
import asyncio, sys
from pathlib import Path
from cli.serve import serve
from cli.topology import Topology
from tests.cli.test_supervisor import House
house = House(Path(sys.argv[1]))
tiers = [[house.program("vision")], [house.program("llm")], [house.program("gateway")]]
asyncio.run(serve(Topology(tiers, Path("models/autoglm-mobile-tiny"), "127.0.0.1", 8123, {})))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_in_order_with_exit_code_0(number: signal.Signals, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(30):
        async for line in process.stdout:
            lines.append(line.decode().rstrip())
            if lines[-1].startswith("curl "):
                process.send_signal(number)
        assert await process.wait() == 0
    assert (tmp_path / "ends").read_text().split() == ["gateway", "llm", "vision"]
    own = [line.partition(" | ")[2] for line in lines if line.startswith("autoglm")]
    assert own[0].startswith("Loading AutoGLM-Mobile-Tiny model")
    assert "FastAPI server running at http://127.0.0.1:8123" in own
    assert "OpenAI-compatible API available at /v1/chat/completions" in own
    assert own[-1] == "Stopped."


def test_the_curl_can_be_pasted() -> None:
    line = curl(Topology([], Path("models/tiny"), "0.0.0.0", 8000, {}))
    assert line.startswith("curl http://127.0.0.1:8000/v1/chat/completions ")
    assert line.endswith("""'{"model": "tiny", "messages": [{"role": "user", "content": "你好"}]}'""")
