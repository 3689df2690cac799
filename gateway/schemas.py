"""The request as OpenAI clients send it: unknown harmless keys are ignored, wrong values are not."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from gateway.bounds import check_values
from gateway.errors import ApiError, invalid

MAX_MESSAGES = 4096
MAX_PARTS = 1024  # of a message
INT32 = 2**31 - 1
INT64 = 2**63 - 1


class _Schema(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class TextPart(_Schema):
    """Something written."""

    type: Literal["text"]
    text: str


class ImageUrl(_Schema):
    """A picture as a data URL; `detail` makes no difference here."""

    url: str
    detail: str | None = None


class ImagePart(_Schema):
    """Something seen."""

    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(_Schema):
    """A clip, base64."""

    data: str
    format: Literal["wav", "mp3", "flac", "ogg", "opus", "webm"]


class AudioPart(_Schema):
    """Something heard."""

    type: Literal["input_audio"]
    input_audio: InputAudio


Part = TextPart | ImagePart | AudioPart
PART_TYPES: dict[str, type[Part]] = {"text": TextPart, "image_url": ImagePart, "input_audio": AudioPart}


class Message(_Schema):
    """One turn; `content` is a string or a list of parts."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[Any], Field(max_length=MAX_PARTS)] | None = None


class StreamOptions(_Schema):
    """`include_usage` adds a last chunk with the usage."""

    include_usage: bool | None = None


class ResponseFormat(_Schema):
    """Only plain text is made."""

    type: Literal["text"]


class Switches(_Schema):
    """Whether the model thinks, and whether its thoughts are kept apart; see docs/thinking.md."""

    enable_thinking: bool | None = None
    return_reasoning: bool | None = None


Number = Annotated[float, Field(allow_inf_nan=False)]


class ChatRequest(Switches):
    """Body of POST /v1/chat/completions."""

    model: str = Field("", max_length=256)
    messages: list[Message] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, le=INT32)
    max_completion_tokens: int | None = Field(None, ge=1, le=INT32)
    temperature: Number | None = None
    top_p: Number | None = None
    top_k: int | None = Field(None, ge=-1, le=INT32)
    seed: int | None = Field(None, ge=-INT64 - 1, le=INT64)
    stop: str | list[str] | None = None
    frequency_penalty: Number | None = None
    presence_penalty: Number | None = None
    repetition_penalty: Number | None = None
    n: Literal[1] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: list[Any] | None = Field(None, max_length=0)
    functions: list[Any] | None = Field(None, max_length=0)
    modalities: list[Literal["text"]] | None = None
    logit_bias: dict[str, Any] | None = Field(None, max_length=0)
    chat_template_kwargs: Switches | None = None
    cache_salt: str | None = Field(None, max_length=256)
    priority: int | None = Field(None, ge=-1000, le=1000)

    @property
    def thinks(self) -> bool | None:
        """Whether the model thinks before it answers; None leaves it to the model."""
        return self._switch("enable_thinking")

    @property
    def splits_reasoning(self) -> bool:
        """Whether thoughts are kept apart from the answer."""
        return bool(self._switch("return_reasoning"))

    @property
    def alternatives(self) -> int | None:
        """Likeliest tokens told beside each token; None tells no log-probabilities."""
        return (self.top_logprobs or 0) if self.logprobs else None

    def _switch(self, name: str) -> bool | None:
        own = getattr(self, name)
        switch: bool | None = getattr(self.chat_template_kwargs, name, None) if own is None else own
        return switch

    @model_validator(mode="after")
    def _alternatives_need_logprobs(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise PydanticCustomError("top_logprobs", "top_logprobs is told with logprobs alone")
        return self


_ACROSS_KEYS = ("top_logprobs",)  # errors of the body as a whole, named by the key at fault
_WHY_NOT = {
    "n": "Only one answer is given.",
    "response_format": "Only plain text is made.",
    "tools": "Tools are not called.",
    "functions": "Functions are not called.",
    "modalities": "Only text is made.",
    "logit_bias": "Biases of tokens are not applied.",
}


def parse_request(body: bytes | bytearray) -> ChatRequest:
    """Raises ApiError 400 that names the parameter."""
    check_values(body)
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error) from error


def parse_part(raw: Any, param: str) -> Part:
    """One content part; raises ApiError 400 that names it."""
    if not isinstance(raw, dict):
        raise invalid("A content part is an object with a type.", param)
    kind = raw.get("type")
    schema = PART_TYPES.get(kind) if isinstance(kind, str) else None
    if schema is None:
        raise invalid(f"A content part is of type {', '.join(PART_TYPES)}.", f"{param}.type")
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        raise _refusal(error, param) from error


def _refusal(error: ValidationError, prefix: str = "") -> ApiError:
    errors = error.errors(include_url=False, include_context=False)
    # A list that is too long is not told that it might have been a string.
    first = next((one for one in errors if one["type"] == "too_long"), errors[0])
    if first["type"] == "json_invalid":
        return invalid("The body is not valid JSON.", None, "invalid_json")
    param, loc = prefix, first["loc"] or ((first["type"],) if first["type"] in _ACROSS_KEYS else ())
    for step in loc:
        if isinstance(step, int):
            param += f"[{step}]"
        elif step != "str" and not step.startswith("list["):  # branches of a union are no part of the path
            param += f".{step}" if param else step
    message = _WHY_NOT.get(str(loc[0]) if loc else "", first["msg"] + ".")
    return invalid(
        message,
        param or None,
        "missing_required_parameter" if first["type"] == "missing" else "invalid_value",
    )
