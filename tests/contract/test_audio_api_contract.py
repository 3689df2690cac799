"""The audio API over a real speech service."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.server import Server
from gateway.settings import GatewaySettings
from servicekit.server import running
from services.speech.service import create_service
from services.speech.settings import SpeechSettings
from tests.bundles import write_speech_bundle
from tests.contract.llm_client import FREE
from tests.gateway.conftest import listening

CLIP = Path(__file__).parents[1] / "speech/clips/apple.opus"
TRANSCRIPTIONS = "/v1/audio/transcriptions"


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway beside a tiny random recogniser."""
    settings = SpeechSettings(model=write_speech_bundle(tmp_path).parent, num_threads=1, **FREE)
    async with running(await create_service(settings), settings) as speech:
        target = f"127.0.0.1:{speech.port}"
        configured = GatewaySettings(port=0, speech_target=target, drain_seconds=1)
        async with (
            listening(Server(configured)) as server,
            httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as http,
        ):
            yield http


async def test_segments_and_characters_add_up_to_the_text(http: httpx.AsyncClient) -> None:
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
    response = await http.post(TRANSCRIPTIONS, files={"file": CLIP.read_bytes()}, data=fields)
    assert response.status_code == 200, response.text
    transcript = response.json()
    assert transcript["duration"] > 1
    assert transcript["text"] == "".join(segment["text"] for segment in transcript["segments"])
    assert transcript["text"] == "".join(word["word"] for word in transcript["words"])
    for one in (*transcript["segments"], *transcript["words"]):
        assert 0 <= one["start"] <= one["end"] <= transcript["duration"]


@pytest.mark.parametrize(
    "audio", [b"a text that poses as sound", b"RIFF" + bytes(40), b"\xff\xfb" + bytes(9)]
)
async def test_what_is_no_sound_is_refused_by_name(audio: bytes, http: httpx.AsyncClient) -> None:
    response = await http.post(TRANSCRIPTIONS, files={"file": audio})
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["code"].startswith("AUDIO_")
    assert error["param"] in (None, "file")


async def test_the_services_own_name_of_the_model_is_served(http: httpx.AsyncClient) -> None:
    files = {"file": CLIP.read_bytes()}
    assert (await http.post(TRANSCRIPTIONS, files=files, data={"model": "tiny"})).status_code == 200
    assert (await http.post(TRANSCRIPTIONS, files=files, data={"model": "huge"})).status_code == 404
