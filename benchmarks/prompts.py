"""OpenAI messages as tokens and pixels, the way transformers prepares them."""

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from servicekit import torchaudio_guard

Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Prompt:
    """Token ids and, where pictures are shown, what the encoder takes."""

    ids: list[int]
    pictures: Inputs | None


class Prompts:
    """Tokenizer, chat template and image processor of one folder."""

    def __init__(self, folder: Path):
        torchaudio_guard.install()
        import transformers

        self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
        config = json.loads((folder / "config.json").read_bytes())
        self._image_token = config.get("image_token_id")
        sees = (folder / "preprocessor_config.json").is_file()
        self._images = transformers.Glm4vImageProcessorPil.from_pretrained(folder) if sees else None

    def read(self, messages: list[dict[str, Any]]) -> Prompt:
        """The template's tokens, each picture's place widened to what it takes."""
        ids: list[int] = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
        urls = _urls(messages)
        if not urls or self._images is None:
            return Prompt(ids, None)
        pixels = dict(self._images(images=[_picture(url) for url in urls], return_tensors="pt"))
        counts = iter((pixels["image_grid_thw"].prod(-1) // self._images.merge_size**2).tolist())
        widened = [[token] * next(counts) if token == self._image_token else [token] for token in ids]
        ids = [token for tokens in widened for token in tokens]
        pixels["mm_token_type_ids"] = (torch.tensor([ids]) == self._image_token).int()
        return Prompt(ids, pixels)

    def pad(self, prompts: list[Prompt]) -> Inputs:
        """One batch, the shorter ones filled up on the left."""
        rows = [{"input_ids": prompt.ids} for prompt in prompts]
        return dict(self.tokenizer.pad(rows, return_tensors="pt", padding_side="left"))


def _urls(messages: list[dict[str, Any]]) -> list[str]:
    parts = [part for message in messages for part in message["content"] if isinstance(part, dict)]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def _picture(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
