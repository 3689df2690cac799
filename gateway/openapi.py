"""What /docs says of the chat body, which is read within bounds and so past FastAPI."""

from typing import Any

from gateway.schemas import ChatRequest

_RED = "data:image/gif;base64,R0lGODdhAQABAIEAAN0fHAAAAAAAAAAAACwAAAAAAQABAAAIBAABBAQAOw=="
_EXAMPLE = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": _RED}},
                {"type": "text", "text": "这是什么颜色？"},
            ],
        }
    ],
}
_SCHEMA = ChatRequest.model_json_schema(ref_template="#/components/schemas/{model}")
_DEFINITIONS = _SCHEMA.pop("$defs")

CHAT_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _SCHEMA, "example": _EXAMPLE}},
    }
}


def add_definitions(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with the schemas that CHAT_BODY refers to."""
    document.setdefault("components", {}).setdefault("schemas", {}).update(_DEFINITIONS)
    return document
