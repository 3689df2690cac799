"""A session's configuration as it is updated, and as the client is shown it."""

from typing import Any

from gateway.audio.options import check_model, hot_words, language_code
from gateway.errors import invalid
from gateway.realtime import g711
from gateway.realtime.schemas import SessionConfig, parse
from gateway.speech import PCM, Listening

PCM_RATE = 24_000


class Configuration:
    """What is in force (`current`), and what an update would make of it."""

    def __init__(self, session_id: str, kind: str, model: str, transcription_models: tuple[str, ...]):
        self._id, self._model, self._transcription_models = session_id, model, transcription_models
        self.current = SessionConfig.model_validate({"type": kind})

    def merged(self, update: dict[str, Any]) -> SessionConfig:
        """The settings with an update laid over, not yet in force; ApiError names what is wrong."""
        raw = _merge(self.current.model_dump(exclude_unset=True), update)
        config = parse(SessionConfig, raw, "session")
        transcription = config.audio.input.transcription
        if transcription:
            param = "session.audio.input.transcription.model"
            check_model(transcription.model, self._transcription_models, param)
        self.listening_of(config)
        return config

    @staticmethod
    def listening_of(config: SessionConfig) -> Listening:
        """How the speech service should listen. Raises ApiError 400: another language, too many phrases."""
        given, vad = config.audio.input.transcription, config.audio.input.turn_detection
        path = "session.audio.input.transcription"
        silence_ms = vad.silence_duration_ms if vad else None
        rate = PCM_RATE if config.audio.input.format.type == "audio/pcm" else g711.RATE
        return Listening(
            format=PCM(rate),
            language=language_code(given.language if given else None, f"{path}.language"),
            phrases=hot_words(given.prompt, given.keywords or (), f"{path}.prompt") if given else (),
            endpoint_silence_s=None if silence_ms is None else silence_ms / 1e3,
        )

    @property
    def shown(self) -> dict[str, Any]:
        """The session object of `session.created` and `session.updated`."""
        config = self.current
        audio = config.audio.model_dump()
        audio["input"]["format"] = _format(config)
        session: dict[str, Any] = {"type": config.type, "id": self._id, "audio": audio, "include": None}
        if config.type == "transcription":
            return session | {"object": "realtime.transcription_session"}
        return session | {
            "object": "realtime.session",
            "model": self._model,
            "instructions": config.instructions,
            "max_output_tokens": config.max_output_tokens,
            "output_modalities": config.output_modalities,
            "tools": [],
            "tool_choice": "none",
        }


def samples_of(audio: bytes, config: SessionConfig, param: str) -> bytes:
    """16-bit samples of what came in. Raises ApiError 400 when a sample is cut in two."""
    kind = config.audio.input.format.type
    if kind != "audio/pcm":
        return g711.decode(audio, g711.ULAW if kind == "audio/pcmu" else g711.ALAW)
    if len(audio) % 2:
        raise invalid("16-bit samples come in pairs of bytes.", param, "invalid_audio")
    return audio


def _format(config: SessionConfig) -> dict[str, Any]:
    kind = config.audio.input.format.type
    return {"type": kind, "rate": PCM_RATE} if kind == "audio/pcm" else {"type": kind}


def _merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        before = merged.get(key)
        merged[key] = _merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged
