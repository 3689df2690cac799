"""What a client may send: its events, and the session they configure, by the names of OpenAI's GA API.

Unknown keys that do no harm are ignored, wrong values are not.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import invalid

MAX_ID = 128
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID)]
Nothing = Annotated[list[Any] | None, Field(max_length=0)]
M = TypeVar("M", bound=BaseModel)


class _Schema(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Format(_Schema):
    """How samples come: 16-bit little-endian at 24 kHz, or G.711 at 8 kHz."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: Literal[24000] | None = None


class TurnDetection(_Schema):
    """The server notices where speech begins and ends; `threshold` and padding are the recogniser's own."""

    type: Literal["server_vad"] = "server_vad"
    create_response: bool = True
    interrupt_response: bool = True
    silence_duration_ms: int | None = Field(None, ge=100, le=10_000)
    idle_timeout_ms: None = None


class Transcription(_Schema):
    """How speech is written down."""

    model: str | None = Field(None, max_length=256)
    language: str | None = Field(None, max_length=64)
    prompt: str | None = Field(None, max_length=4096)
    keywords: list[Annotated[str, Field(max_length=64)]] | None = None


class AudioInput(_Schema):
    """What comes in."""

    format: Format = Format()
    transcription: Transcription | None = None
    turn_detection: TurnDetection | None = TurnDetection()
    noise_reduction: None = None


class Audio(_Schema):
    """Only input: nothing is spoken here."""

    input: AudioInput = AudioInput()


class SessionConfig(_Schema):
    """A session: `realtime` answers, `transcription` writes down."""

    type: Literal["realtime", "transcription"] = "realtime"
    audio: Audio = Audio()
    instructions: str = Field("", max_length=1 << 16)
    max_output_tokens: Annotated[int, Field(ge=1, le=4096)] | Literal["inf"] = "inf"
    output_modalities: list[Literal["text"]] = Field(["text"], min_length=1, max_length=1)
    include: Nothing = None
    tools: Nothing = None
    prompt: None = None


class ResponseParams(_Schema):
    """What differs for one response."""

    instructions: str | None = Field(None, max_length=1 << 16)
    max_output_tokens: Annotated[int, Field(ge=1, le=4096)] | Literal["inf"] | None = None
    output_modalities: list[Literal["text"]] | None = Field(None, min_length=1, max_length=1)
    conversation: Literal["auto", "none"] = "auto"
    metadata: dict[str, str] | None = Field(None, max_length=16)
    input: Nothing = None
    tools: Nothing = None
    prompt: None = None


class Content(_Schema):
    """A part of an item."""

    type: Literal["input_text", "input_audio", "input_image", "output_text", "text"]
    text: str | None = None
    audio: str | None = None
    image_url: str | None = None


class NewItem(_Schema):
    """An item that a client adds to the conversation."""

    type: Literal["message"]
    role: Literal["user", "assistant", "system"]
    content: list[Content] = Field(min_length=1, max_length=64)
    id: Id | None = None


class ClientEvent(_Schema):
    """An event without further content."""

    type: str
    event_id: str | None = None


class SessionUpdate(ClientEvent):
    """`session.update`; only the keys that are present change."""

    session: dict[str, Any]


class Append(ClientEvent):
    """`input_audio_buffer.append`, base64."""

    audio: str


class ItemCreate(ClientEvent):
    """`conversation.item.create`."""

    item: NewItem
    previous_item_id: Id | None = None


class ItemNamed(ClientEvent):
    """`conversation.item.delete` and `.retrieve`."""

    item_id: Id


class ResponseCreate(ClientEvent):
    """`response.create`."""

    response: ResponseParams | None = None


class ResponseCancel(ClientEvent):
    """`response.cancel`."""

    response_id: Id | None = None


_OF_ANSWERS = {
    "output_modalities": 'Answers are text: output_modalities is ["text"].',
    "tools": "Tools are not called.",
    "prompt": "Stored prompts are not known here.",
}
_WHY_NOT = {f"{where}.{name}": why for where in ("session", "response") for name, why in _OF_ANSWERS.items()}
_WHY_NOT |= {
    "response.input": "A response answers the conversation; other input is not taken.",
    "session.include": "Nothing can be included: log probabilities are not given.",
    "session.audio.input.format.rate": "audio/pcm comes at 24000 Hz; G.711 has a rate of its own.",
    "session.audio.input.noise_reduction": "Noise is not reduced.",
    "session.audio.input.turn_detection.type": "Turns end with silence: server_vad, or null.",
    "session.audio.input.turn_detection.idle_timeout_ms": "The server does not speak up by itself.",
}
_BRANCHES = ("str", "int")  # how pydantic names some branches of a union; others are no names at all


def parse(schema: type[M], raw: Any, prefix: str = "") -> M:
    """Raises ApiError 400 that names the parameter."""
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        param = prefix
        for step in first["loc"]:
            if isinstance(step, int):
                param += f"[{step}]"
            elif step.isidentifier() and step not in _BRANCHES:
                param += f".{step}" if param else step
        message = _WHY_NOT.get(param.partition("[")[0], first["msg"] + ".")
        code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
        raise invalid(message, param or None, code) from error
