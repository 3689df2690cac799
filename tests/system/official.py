"""What transformers itself answers on the same checkpoint, asked as OpenAI clients ask."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from servicekit import torchaudio_guard

Message = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """Tokens with their log-probabilities, and the text as an official server shows it."""

    token_ids: list[int]
    logprobs: list[float]
    text: str
    prompt_tokens: int


class Official:
    """Model, tokenizer and image processor of one folder, in float32."""

    def __init__(self, folder: Path):
        torchaudio_guard.install()
        import transformers

        self._model = getattr(transformers, folder.name).from_pretrained(folder, dtype=torch.float32).eval()
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
        sees = (folder / "preprocessor_config.json").is_file()
        self._images = transformers.Glm4vImageProcessorPil.from_pretrained(folder) if sees else None

    @torch.inference_mode()
    def answer(self, messages: list[Message], max_tokens: int) -> Answer:
        """The greedy answer, its end token left out."""
        pictures = [picture(url) for url in _urls(messages)]
        pixels = self._images(images=pictures, return_tensors="pt") if self._images and pictures else {}
        ids = self._prompt(messages, pixels)
        seen = {**pixels, "mm_token_type_ids": _is_image(self._model, ids)} if pixels else {}
        made = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_tokens,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
            **seen,
        )
        token_ids = made.sequences[0, ids.shape[1] :].tolist()
        scores = [logits[0].float().log_softmax(-1) for logits in made.logits]
        logprobs = [float(score[token]) for score, token in zip(scores, token_ids, strict=True)]
        if token_ids[-1] in self._model.generation_config.eos_token_id:
            token_ids.pop()
        text = str(self._tokenizer.decode(token_ids, skip_special_tokens=True))
        return Answer(token_ids, logprobs[: len(token_ids)], text, ids.shape[1])

    def spelled(self, token_id: int) -> str:
        """A token as it is written, special or not."""
        return str(self._tokenizer.decode([token_id], skip_special_tokens=False))

    def _prompt(self, messages: list[Message], pixels: Any) -> torch.Tensor:
        """The template's tokens, each picture's place widened as the official processor does it."""
        ids: list[int] = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
        if not pixels or self._images is None:
            return torch.tensor([ids])
        counts = iter((pixels["image_grid_thw"].prod(-1) // self._images.merge_size**2).tolist())
        image = self._model.config.image_token_id
        widened = [[token] * next(counts) if token == image else [token] for token in ids]
        return torch.tensor([[token for tokens in widened for token in tokens]])


def picture(url: str) -> Image.Image:
    """The picture of a data URL."""
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def _urls(messages: list[Message]) -> list[str]:
    parts = [part for message in messages for part in message["content"] if isinstance(part, dict)]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def _is_image(model: Any, ids: torch.Tensor) -> torch.Tensor:
    return torch.isin(ids, model.config.image_token_id).int()
