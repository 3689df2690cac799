"""From an item as a client sends it to one of the conversation."""

from gateway import media
from gateway.errors import ApiError, invalid
from gateway.realtime.buffer import to_wav
from gateway.realtime.config import Configuration, samples_of
from gateway.realtime.conversation import Image, Item, Part, Speech, Text
from gateway.realtime.outbox import new_id
from gateway.realtime.schemas import Content, NewItem, SessionConfig
from gateway.settings import GatewaySettings

_TAKEN = {
    "user": ("input_text", "input_audio", "input_image"),
    "system": ("input_text",),
    "assistant": ("output_text", "text"),
}


def to_item(new: NewItem, config: SessionConfig, settings: GatewaySettings) -> Item:
    """Decodes the media, so call it on a thread. Raises ApiError 400 that names the part."""
    parts: list[Part] = []
    for index, content in enumerate(new.content):
        param = f"item.content[{index}]"
        if content.type not in _TAKEN[new.role]:
            raise invalid(
                f"What a {new.role} says is of type {', '.join(_TAKEN[new.role])}.", f"{param}.type"
            )
        parts.append(_part(content, param, config, settings))
    if new.role == "user" and not any(part.text if isinstance(part, Text) else part for part in parts):
        raise invalid("A user's item has content.", "item.content", "content_empty")
    return Item(new.id or new_id("item"), new.role, parts)


def _part(content: Content, param: str, config: SessionConfig, settings: GatewaySettings) -> Part:
    match content.type:
        case "input_image":
            if content.image_url is None:
                raise _missing(f"{param}.image_url")
            return Image(
                media.read_data_url(content.image_url, f"{param}.image_url", settings.max_media_bytes)
            )
        case "input_audio":
            if content.audio is None:
                raise _missing(f"{param}.audio")
            audio = media.read_base64(content.audio, f"{param}.audio", settings.max_media_bytes)
            rate = Configuration.listening_of(config).format.rate
            speech = Speech(to_wav(samples_of(audio, config, f"{param}.audio"), rate))
            speech.heard.set()
            return speech
        case _:
            if content.text is None:
                raise _missing(f"{param}.text")
            return Text(content.text)


def _missing(param: str) -> ApiError:
    return invalid("Field required.", param, "missing_required_parameter")
