"""The backbone at rest and at work: validated at start, loaded then or with the first request."""

import asyncio

import structlog

from servicekit.checkpoint import CheckpointError
from servicekit.errors import Unavailable
from servicekit.placement import choose_device, choose_dtype
from servicekit.progress import reading_bar
from services.llm.chat.opening import open_chat, read_defaults
from services.llm.checkpoint import Backbone, Bundle
from services.llm.generation import Generator
from services.llm.metrics import start_phase
from services.llm.model.packed import can_pack, pack
from services.llm.settings import LLMSettings

log = structlog.get_logger("llm")


class LazyBackbone:
    """A bundle, and the generator over its weights once somebody needs it."""

    def __init__(self, settings: LLMSettings):
        self._settings = settings
        with start_phase("validate"):
            self.bundle = Bundle.find(settings.model)
            self.chat = open_chat(self.bundle)
        self.sampling = read_defaults(self.bundle, settings.temperature)
        self.device = choose_device(settings.device)
        self.dtype = choose_dtype(settings.dtype, self.device)
        self.generator: Generator | None = None
        self._loading: asyncio.Task[Generator] | None = None

    async def load(self) -> Generator:
        """The generator. Callers share one load, whoever gives up; after a failed one the next tries again.

        Raises Unavailable MODEL_UNAVAILABLE.
        """
        if self.generator is not None:
            return self.generator
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load())
        return await asyncio.shield(self._loading)

    async def _load(self) -> Generator:
        log.info(f"Loading {display_name(self.bundle.name)} model ...")
        try:
            with start_phase("read_weights"):
                backbone = await asyncio.to_thread(self._read)
        except CheckpointError as error:
            log.error("text backbone not loaded", error=str(error))
            raise Unavailable("MODEL_UNAVAILABLE", "The language model could not be loaded.") from error
        log.info(f"text backbone on {self.device}", dtype=str(self.dtype).removeprefix("torch."))
        with start_phase("start_engine"):
            self.generator = Generator(backbone, self._settings.engine, self._settings.longest_hold_ms / 1e3)
        return self.generator

    async def close(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        if self.generator is not None:
            await self.generator.close()

    def _read(self) -> Backbone:
        """The weights, with a bar on a terminal."""
        with reading_bar(self.bundle.parameter_count) as progress:
            backbone = self.bundle.load(self.dtype, self.device, progress)
        if can_pack(backbone.decoder):
            pack(backbone.decoder)
        return backbone


def display_name(name: str) -> str:
    """`autoglm-mobile-tiny` as people write it: AutoGLM-Mobile-Tiny."""
    return "-".join("AutoGLM" if word == "autoglm" else word.capitalize() for word in name.split("-"))
