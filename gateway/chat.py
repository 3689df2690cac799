"""From an OpenAI chat request to the contract's, and an error's field back to the request's own words."""

import re
from collections.abc import Iterator

from autoglm.llm.v1 import llm_pb2
from gateway import media
from gateway.errors import invalid
from gateway.schemas import AudioPart, ChatRequest, ImagePart, Message, Part, TextPart, parse_part
from gateway.settings import GatewaySettings

ROLES = {
    "system": llm_pb2.ROLE_SYSTEM,
    "developer": llm_pb2.ROLE_SYSTEM,
    "user": llm_pb2.ROLE_USER,
    "assistant": llm_pb2.ROLE_ASSISTANT,
}
_SAMPLING = (
    "temperature",
    "top_p",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
)
_FIELD = re.compile(r"messages\[(\d+)\]\.parts(?:\[(\d+)\])?")


def to_generate_request(request: ChatRequest, settings: GatewaySettings) -> llm_pb2.GenerateRequest:
    """Decodes the media, so call it on a thread. Raises ApiError 400 that names the parameter."""
    parsed = [
        (message, list(_parts(message, f"messages[{index}].content")))
        for index, message in enumerate(request.messages)
    ]
    count = sum(not isinstance(part, TextPart) for _, parts in parsed for part, _ in parts)
    if count > settings.max_media_parts:
        raise invalid(
            f"{count} pictures and clips; {settings.max_media_parts} are taken.", "messages", "too_many_media"
        )
    return llm_pb2.GenerateRequest(
        messages=[
            llm_pb2.ChatMessage(
                role=ROLES[message.role], parts=[_content(part, param, settings) for part, param in parts]
            )
            for message, parts in parsed
        ],
        sampling=_sampling(request),
        enable_thinking=request.thinks is True,
        disable_thinking=request.thinks is False,
        cache_salt=request.cache_salt or "",
        priority=request.priority,
    )


def param_of(field: str | None, request: ChatRequest) -> str | None:
    """The request's own path for a field of the contract."""
    if field is None:
        return None
    if match := _FIELD.match(field):
        index = int(match[1])
        content = request.messages[index].content
        path = f"messages[{index}].content"
        if isinstance(content, list) and match[2] is not None:
            part = parse_part(content[int(match[2])], path)
            path += f"[{match[2]}]"
            if isinstance(part, ImagePart):
                path += ".image_url.url"
            elif isinstance(part, AudioPart):
                path += ".input_audio.data"
        return path
    name = field.removeprefix("sampling.")
    return "max_completion_tokens" if name == "max_tokens" and request.max_completion_tokens else name


def _parts(message: Message, param: str) -> Iterator[tuple[Part, str]]:
    if isinstance(message.content, str):
        yield TextPart(type="text", text=message.content), param
        return
    for index, raw in enumerate(message.content or ()):
        path = f"{param}[{index}]"
        yield parse_part(raw, path), path


def _content(part: Part, param: str, settings: GatewaySettings) -> llm_pb2.ContentPart:
    if isinstance(part, TextPart):
        return llm_pb2.ContentPart(text=part.text)
    if isinstance(part, AudioPart):
        data = media.read_base64(part.input_audio.data, f"{param}.input_audio.data", settings.max_media_bytes)
        return llm_pb2.ContentPart(audio=llm_pb2.AudioPart(data=data))
    data = media.read_data_url(part.image_url.url, f"{param}.image_url.url", settings.max_media_bytes)
    if settings.compress_images:
        data = media.compress_image(data)
    return llm_pb2.ContentPart(image=llm_pb2.ImagePart(data=data))


def _sampling(request: ChatRequest) -> llm_pb2.SamplingParams:
    given = {name: value for name in _SAMPLING if (value := getattr(request, name)) is not None}
    if request.top_k is not None:
        given["top_k"] = max(request.top_k, 0)  # -1 also means all, to some clients
    if request.alternatives is not None:
        given["top_logprobs"] = request.alternatives
    limit = request.max_completion_tokens or request.max_tokens
    if limit is not None:
        given["max_tokens"] = limit
    stop = [request.stop] if isinstance(request.stop, str) else request.stop
    return llm_pb2.SamplingParams(**given, stop=stop)
