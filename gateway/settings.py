"""What can be set about the gateway: section `gateway` of config.yaml."""

from typing import Self

from pydantic import Field, model_validator

from servicekit.channel import MAX_MESSAGE_BYTES
from servicekit.settings import KeyPair, KeySettings, Settings, TLSSettings

MIB = 1 << 20


class GatewaySettings(Settings):
    """Everything configurable, with its default."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    insecure: bool = False
    """Allows plaintext HTTP beyond loopback."""
    https: KeyPair | None = None
    """What clients are shown; unset: plaintext HTTP."""
    tls: TLSSettings | None = None
    """How the services are met; unset: plaintext."""
    api_keys: KeySettings = KeySettings()
    """With any, a client needs one of them."""
    metrics_need_key: bool = False
    """Keeps /metrics for holders of a key, too."""
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$")
    drain_seconds: float = Field(20.0, ge=0)
    """How long running answers may go on after SIGTERM."""

    llm_target: str = "127.0.0.1:50053"
    llm_health_target: str = "127.0.0.1:51053"
    speech_target: str = "127.0.0.1:50052"
    """Where /v1/audio and /v1/realtime are heard; empty: they are refused by name."""
    vision_health_target: str = "127.0.0.1:51051"
    speech_health_target: str = "127.0.0.1:51052"
    """Health ports, asked by /health/ready; empty leaves a service out."""

    model_aliases: tuple[str, ...] = ("autoglm", "autoglm-phone-9b")
    """Names a request may use besides the served model's own."""
    speech_aliases: tuple[str, ...] = (
        "whisper-1",
        "gpt-transcribe",
        "gpt-4o-transcribe",
        "gpt-4o-mini-transcribe",
    )
    """Names a transcription may use besides those of the speech model and of the served model."""
    realtime_aliases: tuple[str, ...] = ("gpt-realtime",)
    """Names a realtime session may use besides those of the served model."""
    request_timeout_s: float = Field(300.0, gt=0)
    """Deadline of an answer, passed on to every service."""
    retries: int = Field(2, ge=0, le=5)
    """Further tries when the llm service cannot be reached, before the first token only."""

    max_body_bytes: int = Field(48 * MIB, ge=1024, le=MAX_MESSAGE_BYTES)
    max_total_body_bytes: int = Field(512 * MIB, ge=1024)
    """Bodies of all requests that wait for their first token; what goes beyond is refused with 429."""
    max_media_bytes: int = Field(20 * MIB, ge=1024)
    """Largest picture or clip, decoded."""
    max_media_parts: int = Field(16, ge=1)
    """Pictures and clips in one conversation."""
    max_upload_bytes: int = Field(25 * MIB, ge=1024, le=MAX_MESSAGE_BYTES - MIB)
    """Largest clip sent to be transcribed."""

    max_realtime_sessions: int = Field(64, ge=1)
    """Open /v1/realtime connections; one more is refused with 429."""
    max_realtime_event_bytes: int = Field(16 * MIB, ge=1024)
    """Longest event a realtime client may send; the connection is closed with 1009 beyond it."""
    max_realtime_session_s: float = Field(3600.0, gt=0)
    """A realtime connection ends then."""
    max_realtime_turn_s: float = Field(60.0, gt=0)
    """Longest spoken turn."""
    max_realtime_items: int = Field(64, ge=2)
    """Conversation items that are kept; older ones are deleted, and the client is told."""

    compress_images: bool = False
    """Sends pictures on as JPEG (quality 80) within 512x512; coordinates then no longer match."""

    @property
    def encrypted(self) -> bool:
        """Whether clients meet TLS."""
        return self.https is not None

    @model_validator(mode="after")
    def _one_body_fits_the_total(self) -> Self:
        if self.max_total_body_bytes < max(self.max_body_bytes, self.max_upload_bytes):
            raise ValueError("max_total_body_bytes must hold one body of max_body_bytes or max_upload_bytes")
        return self
