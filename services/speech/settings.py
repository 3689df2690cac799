"""What can be set about the speech service: section `speech` of config.yaml."""

from pydantic import Field

from servicekit.settings import ServerSettings


class SpeechSettings(ServerSettings):
    """Everything configurable, with its default."""

    port: int = Field(50052, ge=0, le=65535)
    health_port: int = Field(51052, ge=0, le=65535)
    metrics_port: int | None = Field(52052, ge=0, le=65535)
