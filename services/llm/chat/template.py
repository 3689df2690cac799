"""The chat template of a published checkpoint, rendered by transformers' sandboxed Jinja."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from servicekit import torchaudio_guard
from services.llm.chat.format import ChatError

TEMPLATE, TOKENIZER_CONFIG = "chat_template.jinja", "tokenizer_config.json"
PROBE = "probe"


class ChatTemplate:
    """A template and the special tokens it may name."""

    def __init__(self, source: str, names: Mapping[str, str]):
        self._source, self._names = source, dict[str, Any](names)

    @classmethod
    def read(cls, folder: Path) -> "ChatTemplate":
        """chat_template.jinja, or the one inside tokenizer_config.json. Raises ValueError."""
        path = folder / TOKENIZER_CONFIG
        config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        file = folder / TEMPLATE
        source = file.read_text(encoding="utf-8") if file.is_file() else config.get("chat_template")
        if not isinstance(source, str):
            raise ValueError(f"{folder} holds no {TEMPLATE}")
        names = {
            key: value["content"] if isinstance(value, dict) else value
            for key, value in config.items()
            if key.endswith("_token") and isinstance(value, str | dict)
        }
        return cls(source, names)

    @cached_property
    def takes_parts(self) -> bool:
        """Whether a message's content may be a list of parts; else it must be one string."""
        parts = [{"type": "text", "text": PROBE}]
        try:
            shown = self.render([{"role": "user", "content": parts}])
        except ChatError:
            return False
        return PROBE in shown and str(parts) not in shown and "'text'" not in shown

    def render(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
        """The conversation as text, up to where the assistant speaks next. Raises `ChatError`."""
        torchaudio_guard.install()
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            rendered: Any = render_jinja_template(  # annotated as a string, and is none
                conversations=[[dict(message) for message in messages]],
                chat_template=self._source,
                add_generation_prompt=True,
                **(self._names | options),
            )
        except (TemplateError, TypeError) as error:
            raise ChatError(f"The chat template does not take this conversation: {error}") from error
        return str(rendered[0][0])
