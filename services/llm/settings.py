"""What can be set about the language-model service: section `llm` of config.yaml."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from servicekit.settings import ServerSettings
from services.llm.engine.engine import EngineConfig

MIB = 1024 * 1024


class LLMSettings(ServerSettings):
    """Everything configurable, with its default."""

    port: int = Field(50053, ge=0, le=65535)
    health_port: int = Field(51053, ge=0, le=65535)
    metrics_port: int | None = Field(52053, ge=0, le=65535)

    model: Path = Path("models/autoglm-mobile-tiny")
    """Folder of a bundle, whose `llm` sub-folder is opened, or of a published GLM checkpoint; `dummy:9b`,
    `dummy:4b` and `dummy:2b` make weights up."""
    lazy_load: bool = False
    """Only validate the checkpoint at start, and load it with the first request."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto` is float32 on a CPU and bfloat16 on a GPU."""
    num_threads: int = Field(0, ge=0)
    """Threads of one pass at most; fewer are taken where they prove faster. 0: as many as torch has."""

    vision_target: str = "127.0.0.1:50051"
    """Where pictures are encoded; empty: pictures are refused."""
    speech_target: str = ""
    """Where speech is encoded; empty: speech is refused."""
    encode_timeout_s: float = Field(30.0, gt=0)
    """Longest wait for one encode, its queue included; frozen encoders are noticed sooner."""
    embedding_cache_bytes: int = Field(256 * MIB, ge=0)
    staged_bytes: int = Field(512 * MIB, ge=MIB)
    """Embedded prompts held for requests that wait or run."""
    media_concurrency: int = Field(32, ge=1)
    """Requests whose media are fetched at the same time."""

    max_context_tokens: int = Field(0, ge=0)
    """Longest prompt plus answer; 0 takes what the model was made for."""
    temperature: float | None = Field(None, ge=0, le=2)
    """Where a request sets none; unset: as generation_config.json says, else 0."""
    kv_cache_bytes: int = Field(128 * MIB, ge=MIB)
    prefix_cache: bool = True
    max_batch_tokens: int = Field(512, ge=1)
    """Tokens of one step, prompts and answers together."""
    max_running: int = Field(32, ge=1)
    """Requests that share a step."""
    token_time_target_ms: float = Field(0.0, ge=0)
    """Longest that running answers should wait for their next token: prompts are cut smaller, and newcomers
    kept waiting, to hold it. 0: as many tokens per second as there are."""
    speculative_tokens: int = Field(4, ge=0, le=16)
    """Tokens guessed ahead where an answer repeats earlier words; answers stay the same. 0: none."""
    longest_hold_ms: float = Field(100.0, ge=0)
    """While many answers stream at once, tokens of one wait so long at most for those that follow, and leave
    together. 0: each at once."""
    max_requests: int = Field(256, ge=1)
    """Requests waiting or running; one more is refused with QUEUE_FULL."""
    stall_seconds: float = Field(60.0, gt=0)
    """A step that takes longer than this makes the service unhealthy."""

    @property
    def engine(self) -> EngineConfig:
        return EngineConfig(
            kv_cache_bytes=self.kv_cache_bytes,
            max_batch_tokens=self.max_batch_tokens,
            max_running=self.max_running,
            max_requests=self.max_requests,
            prefix_cache=self.prefix_cache,
            token_time_target=self.token_time_target_ms / 1e3,
            speculative_tokens=self.speculative_tokens,
        )

    @model_validator(mode="after")
    def _engine_is_possible(self) -> Self:
        _ = self.engine
        return self
