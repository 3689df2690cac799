"""The services' own parts in one process: encoder, gate, engine. What evaluation asks."""

import json
import queue
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import nn

from servicekit.shards import Shards
from services.llm.checkpoint import Backbone, Bundle
from services.llm.engine.engine import Engine, EngineConfig
from services.llm.engine.request import Event, Finished, Request, SamplingParams, Token
from services.llm.model.fusion import Modality, fuse
from services.llm.prompt import Media, Message, Role, Text, lay_out
from services.llm.tokenizer import END_THINK, Tokenizer
from services.vision.images import fit_square
from services.vision.model.native import VisionConfig, VisionEncoder, normalise
from training.samples import LINE_BREAK

ENCODE_BATCH = 16
MAX_TOKENS = 96


@dataclass(frozen=True)
class Question:
    """Turns that alternate, the user first and last; `pictures` (indices) come with the first.

    written: lines of text read in them. speech_TD stands in the place of the last turn's text.
    """

    turns: tuple[str, ...]
    pictures: tuple[int, ...] = ()
    enable_thinking: bool = False
    written: tuple[str, ...] = ()
    speech_TD: torch.Tensor | None = None


class Pipeline:
    """Answers many questions at once, greedily."""

    def __init__(self, encoder: VisionEncoder, backbone: Backbone, tokenizer: Tokenizer):
        self._encoder, self._backbone, self._tokenizer = encoder, backbone, tokenizer

    @classmethod
    def open(cls, bundle: Path, *, uniform_gate: bool = False) -> Self:
        """Loads a bundle in float32; `uniform_gate` makes every modality weigh the same."""
        config = VisionConfig.from_dict(
            json.loads((bundle / "vision" / "config.json").read_text(encoding="utf-8"))
        )
        encoder = VisionEncoder(config).eval()
        encoder.load_state_dict(Shards.open(bundle / "vision").read_all())
        backbone = Bundle.open(bundle / "llm").load(torch.float32, torch.device("cpu"))
        if uniform_gate and backbone.gate is not None:
            nn.init.zeros_(backbone.gate.proj.weight)
            nn.init.zeros_(backbone.gate.proj.bias)
        return cls(encoder, backbone, Tokenizer(bundle / "llm" / "tokenizer.json"))

    @torch.inference_mode()
    def encode(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        """Embeddings [pictures, tokens, D]."""
        side = self._encoder.config.image_size
        batches = []
        for start in range(0, len(pictures), ENCODE_BATCH):
            pixels = np.stack(
                [fit_square(picture, side) for picture in pictures[start : start + ENCODE_BATCH]]
            )
            batches.append(self._encoder(normalise(torch.from_numpy(pixels))))
        return torch.cat(batches)

    def answer(
        self, questions: Sequence[Question], images_PMD: torch.Tensor, max_tokens: int = 64
    ) -> list[str]:
        """What the model says to each question; thoughts stay in the text, before `</think>`."""
        events: queue.SimpleQueue[list[Event]] = queue.SimpleQueue()
        engine = Engine(self._backbone.decoder, EngineConfig(max_requests=len(questions)), events.put)
        for index, question in enumerate(questions):
            engine.submit(self._request(str(index), question, images_PMD))
        answers: list[list[int]] = [[] for _ in questions]
        open_questions = len(questions)
        while open_questions:
            engine.step()
            for event in events.get() if not events.empty() else ():
                if isinstance(event, Token):
                    answers[int(event.request_id)].append(event.token_id)
                open_questions -= isinstance(event, Finished)
        return [self._said(answer) for answer in answers]

    def _said(self, token_ids: list[int]) -> str:
        end_think = self._tokenizer.special(END_THINK)
        thought_tokens = token_ids.index(end_think) + 1 if end_think in token_ids else 0
        return self._tokenizer.decode(token_ids[thought_tokens:])

    @torch.inference_mode()
    def _request(self, name: str, question: Question, images_PMD: torch.Tensor) -> Request:
        roles = (Role.USER, Role.ASSISTANT)
        messages = [Message(roles[i % 2], (Text(turn),)) for i, turn in enumerate(question.turns)]
        sampling = SamplingParams(max_tokens=MAX_TOKENS)
        media: list[torch.Tensor] = [images_PMD[picture] for picture in question.pictures]
        written = LINE_BREAK.join(question.written)
        shown = tuple(
            Media(Modality.IMAGE, len(x), p.to_bytes(4), written=written)
            for x, p in zip(media, question.pictures, strict=True)
        )
        if question.speech_TD is not None:
            media.append(question.speech_TD)
            messages[-1] = Message(
                Role.USER, (Media(Modality.AUDIO, len(question.speech_TD), name.encode()),)
            )
        messages[0] = Message(Role.USER, (*shown, *messages[0].parts))
        prompt = lay_out(messages, self._tokenizer, enable_thinking=question.enable_thinking)
        if not media:
            return Request(name, prompt.token_ids, sampling)
        x_TD = self._backbone.decoder.embed(torch.tensor(prompt.token_ids))
        for span, embedding_TD in zip(prompt.spans, media, strict=True):
            x_TD[span.start : span.end] = embedding_TD
        fuse(self._backbone.gate, x_TD, prompt.pieces)
        spans = tuple((span.start, span.end) for span in prompt.spans)
        return Request(name, prompt.token_ids, sampling, x_TD, spans, salts=prompt.salts)
