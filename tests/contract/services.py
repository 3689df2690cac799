"""Vision, speech and llm together, as a client in any language finds them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from servicekit.server import running
from services.llm.service import create_service as create_llm
from services.llm.settings import LLMSettings
from services.speech.service import create_service as create_speech
from services.speech.settings import SpeechSettings
from tests.contract.llm_client import FREE, start_vision


@dataclass(frozen=True)
class Targets:
    """Where each service listens."""

    vision: str
    speech: str
    llm: str

    def of(self, service: str) -> str:
        """By the full gRPC name, such as `autoglm.vision.v1.VisionService`."""
        return {"vision": self.vision, "speech": self.speech, "llm": self.llm}[service.split(".")[1]]


@asynccontextmanager
async def all_services(bundle: Path) -> AsyncIterator[Targets]:
    """The three services around a bundle, in this process."""
    speech_settings = SpeechSettings(**FREE, model=bundle)
    async with (
        start_vision(bundle) as vision,
        running(await create_speech(speech_settings), speech_settings) as speech,
    ):
        llm_settings = LLMSettings(
            **FREE,
            model=bundle,
            vision_target=f"127.0.0.1:{vision.port}",
            speech_target=f"127.0.0.1:{speech.port}",
            kv_cache_bytes=4 << 20,
        )
        async with running(await create_llm(llm_settings), llm_settings) as llm:
            yield Targets(*(f"127.0.0.1:{server.port}" for server in (vision, speech, llm)))
