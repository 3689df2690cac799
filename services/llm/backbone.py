"""The backbone at rest and at work: validated at start, loaded then or with the first request."""

import asyncio
import time

import structlog

from servicekit.placement import choose_device, choose_dtype
from services.llm.generation import Generator
from services.llm.model.loading import TOKENIZER, Backbone, Bundle
from services.llm.settings import LLMSettings
from services.llm.tokenizer import Tokenizer

log = structlog.get_logger("llm")


class LazyBackbone:
    """A bundle, and the generator over its weights once somebody needs it."""

    def __init__(self, settings: LLMSettings):
        self._settings = settings
        self.bundle = Bundle.open(settings.model / "llm")
        self.tokenizer = Tokenizer(self.bundle.folder / TOKENIZER)
        self.device = choose_device(settings.device)
        self.dtype = choose_dtype(settings.dtype, self.device)
        self.generator: Generator | None = None
        self._loading = asyncio.Lock()

    async def load(self) -> Generator:
        """The generator; the first caller waits for the weights, and so do those who come meanwhile."""
        async with self._loading:
            if self.generator is None:
                log.info(f"Loading {display_name(self.bundle.name)} model ...")
                started = time.monotonic()
                backbone = await asyncio.to_thread(self._read)
                log.info(f"text backbone on {self.device}", dtype=str(self.dtype).removeprefix("torch."))
                self.generator = Generator(backbone, self._settings.engine)
                log.info(f"text backbone loaded in {time.monotonic() - started:.2f} s")
            return self.generator

    async def close(self) -> None:
        if self.generator is not None:
            await self.generator.close()

    def _read(self) -> Backbone:
        return self.bundle.load(self.dtype, self.device)


def display_name(name: str) -> str:
    """`autoglm-mobile-tiny` as people write it: AutoGLM-Mobile-Tiny."""
    return "-".join("AutoGLM" if word == "autoglm" else word.capitalize() for word in name.split("-"))
