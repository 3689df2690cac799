"""The form of a transcription request, as OpenAI clients send it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gateway.errors import invalid

LISTS = ("timestamp_granularities", "keywords", "include", "languages")


class TranscriptionForm(BaseModel):
    """Fields beside the file. Unknown harmless ones are ignored, wrong values are not."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model: str = Field("", max_length=256)
    language: str | None = Field(None, max_length=64)
    prompt: str | None = Field(None, max_length=4096)
    keywords: tuple[Annotated[str, Field(max_length=64)], ...] = ()
    response_format: Literal["json", "text", "srt", "vtt", "verbose_json"] = "json"
    temperature: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    """Between 0 and 1, as OpenAI has it; text is always the likeliest, so it makes no difference."""
    timestamp_granularities: tuple[Literal["word", "segment"], ...] = ()
    stream: Annotated[bool, BeforeValidator(lambda value: value or False)] = False
    include: tuple[str, ...] = Field((), max_length=0)


_WHY_NOT = {
    "response_format": "A response_format is json, text, srt, vtt or verbose_json.",
    "timestamp_granularities": "A timestamp granularity is word or segment.",
    "include": "Nothing can be included: log probabilities are not given.",
}


def parse_form(fields: list[tuple[str, str]]) -> TranscriptionForm:
    """Raises ApiError 400 that names the parameter."""
    values: dict[str, Any] = {}
    for key, value in fields:
        name = key.removesuffix("[]")
        if name in LISTS:
            values.setdefault(name, []).append(value)
        else:
            values[name] = value
    try:
        form = TranscriptionForm.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        param = str(first["loc"][0])
        raise invalid(_WHY_NOT.get(param, first["msg"] + "."), param) from error
    if form.timestamp_granularities and form.response_format != "verbose_json":
        raise invalid("Timestamps come with response_format verbose_json.", "timestamp_granularities")
    if form.stream and form.response_format not in ("json", "text"):
        raise invalid("A stream is sent as response_format json.", "response_format")
    return form
