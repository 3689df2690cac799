"""The processes as the code knows them: settings, health names, modules."""

from dataclasses import dataclass
from functools import lru_cache

from deploy.validate.build import REPOSITORY
from deploy.validate.manifests import Container
from gateway.settings import GatewaySettings
from servicekit.settings import DEFAULT_CONFIG, ServerSettings, load_settings
from services.llm import service as llm
from services.llm.settings import LLMSettings
from services.speech import service as speech
from services.speech.settings import SpeechSettings
from services.vision import service as vision
from services.vision.settings import VisionSettings

GATEWAY = "gateway"
ProcessSettings = GatewaySettings | ServerSettings


@dataclass(frozen=True)
class Process:
    """What runs in a container. health_name: what its probes ask for; none for HTTP, the gateway."""

    module: str
    settings: type[GatewaySettings] | type[ServerSettings]
    health_name: str | None = None


PROCESSES = {
    GATEWAY: Process("gateway", GatewaySettings),
    "vision": Process("services.vision", VisionSettings, vision.NAME),
    "speech": Process("services.speech", SpeechSettings, speech.NAME),
    "llm": Process("services.llm", LLMSettings, llm.NAME),
}


def settings_of(container: Container) -> ProcessSettings:
    """The settings its process will start with: config.yaml of the image, then the environment.

    Raises SettingsError as the process would, KeyError for an image that is none of ours.
    """
    return _load(container.process, tuple(container.environment.items()))


@lru_cache
def _load(process: str, environment: tuple[tuple[str, str], ...]) -> ProcessSettings:
    return load_settings(process, PROCESSES[process].settings, REPOSITORY / DEFAULT_CONFIG, dict(environment))


def ports_of(settings: ProcessSettings) -> dict[str, int]:
    """Ports that a process binds, by what they are for."""
    keys = ("port", "health_port", "metrics_port")
    return {key: port for key in keys if (port := getattr(settings, key, None)) is not None}
