"""Settings of a process: a section of config.yaml, overridden by the environment; nothing unknown passes."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

CONFIG_VARIABLE = "AUTOGLM_CONFIG"
DEFAULT_CONFIG = Path("config.yaml")
PREFIX = "AUTOGLM_"
SEPARATOR = "__"
HASH_PATTERN = "sha256:[0-9a-f]{64}"


class SettingsError(Exception):
    """A setting that is unknown or wrong; the message names the key and where it came from."""


class Settings(BaseModel):
    """Base of all settings: frozen, and no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class KeyPair(Settings):
    """A certificate chain and its key: PEM files, read again when they change."""

    certificate: Path
    key: Path


class TLSSettings(Settings):
    """How a process meets the others: PEM files, read again when they change."""

    certificate: Path | None = None
    """Chain that is shown to callers, and to the services that are called."""
    key: Path | None = None
    client_ca: Path | None = None
    """When serving: a caller must show a certificate that one of these signed (mutual TLS)."""
    ca: Path | None = None
    """When calling: who signs the certificates of services; unset believes the public authorities."""
    token: Path | None = None
    """When calling: file with a bearer token to send."""

    @property
    def pair(self) -> KeyPair | None:
        """What is shown, if anything is."""
        return KeyPair(certificate=self.certificate, key=self.key) if self.certificate and self.key else None

    @model_validator(mode="after")
    def _certificate_has_a_key(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key come together")
        return self


class KeySettings(Settings):
    """Secrets that open, by their holders' names; only hashes are kept (`autoglm keys new`)."""

    hashes: dict[str, Annotated[str, Field(pattern=f"^{HASH_PATTERN}$")]] = {}
    file: Path | None = None
    """More of them, one `name sha256:...` a line; read again when it changes."""

    def __bool__(self) -> bool:
        return bool(self.hashes or self.file)


class CallerSettings(Settings):
    """Who may call a service directly."""

    tokens: KeySettings = KeySettings()
    """Bearer tokens: with any, a caller needs one, or a client certificate."""
    allowed: tuple[str, ...] = ()
    """Names of those who may call; empty: whoever has a name."""


class ServerSettings(Settings):
    """What every service needs to know. Port 0 takes any free port."""

    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65535)
    health_port: int = Field(ge=0, le=65535)
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    insecure: bool = False
    """Allows plaintext beyond loopback."""
    tls: TLSSettings | None = None
    """Between the processes; unset: plaintext."""
    callers: CallerSettings = CallerSettings()
    drain_seconds: float = Field(default=20.0, ge=0)
    """Time to stop in: what still runs after it is cut off."""
    lame_duck_seconds: float = Field(default=0.0, ge=0)
    """Part of `drain_seconds` in which new calls are still taken, though no longer ready."""
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    max_message_bytes: int = Field(default=64 << 20, gt=0)
    max_concurrent_rpcs: int = Field(default=1024, gt=0)

    @property
    def encrypted(self) -> bool:
        """Whether callers meet TLS."""
        return self.tls is not None

    @model_validator(mode="after")
    def _callers_can_be_known(self) -> Self:
        if self.tls and not self.tls.pair:
            raise ValueError("tls needs certificate and key to serve with")
        if self.callers.allowed and not self.callers.tokens and not (self.tls and self.tls.client_ca):
            raise ValueError("callers.allowed needs names: set tls.client_ca or callers.tokens")
        return self


T = TypeVar("T", bound=Settings)


def load_settings(
    section: str, model: type[T], path: Path | None = None, environ: Mapping[str, str] = os.environ
) -> T:
    """Reads `section` of the file at `path` (else $AUTOGLM_CONFIG, else ./config.yaml) and the environment.

    An environment variable `AUTOGLM_<SECTION>__<KEY>` wins over the file. Raises `SettingsError`.
    """
    path = path or Path(environ.get(CONFIG_VARIABLE, DEFAULT_CONFIG))
    sections = _read_file(path)
    if section not in sections:
        raise SettingsError(f"{path} has no section {section}")
    values = dict(sections[section])
    origin = dict.fromkeys(values, str(path))
    for name, text in environ.items():
        named, separator, key = name.removeprefix(PREFIX).lower().partition(SEPARATOR)
        if not name.startswith(PREFIX) or not separator:
            continue
        if named not in sections:
            raise SettingsError(f"{name} names no section of {path}")
        if named == section:
            values[key], origin[key] = _read_variable(name, text), name
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, (section, *problem['loc'])))} "
            f"(from {origin.get(''.join(map(str, problem['loc'][:1])), path)}): {problem['msg']}"
            for problem in error.errors()
        ]
        raise SettingsError("; ".join(problems)) from error


def _read_file(path: Path) -> dict[str, dict[str, object]]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        raise SettingsError(f"There is no settings file {path}; ${CONFIG_VARIABLE} names another") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path} holds no sections")
    for section, values in content.items():
        if not isinstance(values, dict | None):
            raise SettingsError(f"{path}: {section} is no section")
    return {section: values or {} for section, values in content.items()}


def _read_variable(name: str, text: str) -> object:
    """Text as it stands, for the setting's type to read; lists and mappings are YAML, `null` is none."""
    trimmed = text.strip()  # a secret's value often ends with a line break
    if text != "null" and (trimmed[:1], trimmed[-1:]) not in (("[", "]"), ("{", "}")):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{name} is not valid YAML: {error}") from error
