"""What stands beside a backbone's weights: how it talks, and how it likes to be sampled."""

import json
from typing import Any

from servicekit.checkpoint import CheckpointError
from services.llm.chat.format import ChatFormat
from services.llm.chat.native import NativeChat
from services.llm.chat.published import PublishedChat
from services.llm.checkpoint import Bundle
from services.llm.engine.request import RANGES, SamplingParams

TOKENIZER, GENERATION = "tokenizer.json", "generation_config.json"
SAMPLED = ("temperature", "top_p", "top_k")


def open_chat(bundle: Bundle) -> ChatFormat:
    """The chat format of a bundle. Raises CheckpointError."""
    try:
        if bundle.native:
            return NativeChat(bundle.folder / TOKENIZER)
        return PublishedChat(bundle.folder, pictures=bool(bundle.config.mrope_section))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{bundle.folder} has no usable chat format: {error}") from error


def read_defaults(bundle: Bundle, temperature: float | None) -> SamplingParams:
    """How to sample where a request does not say.

    A temperature that the service was set to comes first, then generation_config.json as transformers
    reads it: `do_sample` false or missing takes the likeliest token. Raises CheckpointError.
    """
    path = bundle.folder / GENERATION
    raw: dict[str, Any] = {}
    if not bundle.native and path.is_file():
        raw = json.loads(path.read_text(encoding="utf-8"))
    wanted = ("repetition_penalty", *(SAMPLED if raw.get("do_sample") else ()))
    given: dict[str, Any] = {name: raw[name] for name in wanted if raw.get(name) is not None}
    if given.get("top_k") == -1:  # as other servers spell 0: all
        given["top_k"] = 0
    for name, value in given.items():
        low, high = RANGES[name]
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise CheckpointError(f"{path}: {name} is {value!r}, and lies between {round(low, 6)} and {high}")
    if raw.get("do_sample"):
        given.setdefault("temperature", 1.0)
    return SamplingParams(**given | ({} if temperature is None else {"temperature": temperature}))
