"""Conversations as padded tensors: prompts once, several answers side by side.

A sample is a row of tokens in branches. Branch 0 is seen by all; branch k > 0 is one answer, which sees
branch 0 and itself only. So five captions of one photo cost one prompt.
"""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import torch

from services.llm import tokenizer as t
from services.llm.model.fusion import NO_MODALITY, Modality
from services.llm.prompt import Media, Message, Prompt, Role, Text, lay_out
from services.llm.tokenizer import Tokenizer
from training.data.dialogues import Dialogue
from training.data.questions import Turn

IGNORE = -100
SYSTEM_PROMPTS = ("你是一个有用的助手。", "You are a helpful assistant.", "你是AutoGLM。", "请用中文回答。")
PICTURE_FIRST = 0.6
WITH_SYSTEM = 0.1
WITH_THOUGHT = 0.15
THOUGHTS = 2  # answers that are thought through, per sample: they are long


@dataclass
class Sample:
    """One row: ids, positions, branches and targets of equal length; span and modalities of its picture."""

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    branches: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    modalities: list[int] = field(default_factory=list)
    span: tuple[int, int] | None = None


class SampleBuilder:
    """Turns questions and dialogues into samples, with the words that `rng` chooses."""

    def __init__(self, tokenizer: Tokenizer, image_tokens: int):
        self._tokenizer = tokenizer
        self._picture = Media(Modality.IMAGE, image_tokens, b"")
        self._end = tokenizer.special(t.USER)

    def photo(self, turns: Sequence[Turn], rng: random.Random) -> Sample:
        """A picture, its first question, and the turns that follow."""
        question = Text(turns[0].question)
        parts = (self._picture, question) if rng.random() < PICTURE_FIRST else (question, self._picture)
        messages = [*self._system(rng), Message(Role.USER, parts)]
        if len(turns) > 1:
            for before, after in itertools.pairwise(turns):
                messages += [_said(Role.ASSISTANT, before.answers[0]), _said(Role.USER, after.question)]
            thoughts = rng.random() < WITH_THOUGHT
            return self._sample(messages, turns[-1].answers[:1], turns[-1].thoughts[:1] if thoughts else ())
        if rng.random() < WITH_THOUGHT:
            return self._sample(messages, turns[0].answers[:THOUGHTS], turns[0].thoughts[:THOUGHTS])
        return self._sample(messages, turns[0].answers, ())

    def dialogue(self, dialogue: Dialogue, rng: random.Random) -> Sample:
        """Text alone; every reply is learned."""
        roles = (Role.USER, Role.ASSISTANT)
        messages = self._system(rng)
        messages += [_said(roles[i % 2], text) for i, text in enumerate(dialogue.turns[:-1])]
        thoughts = (dialogue.thought,) if rng.random() < WITH_THOUGHT else ()
        return self._sample(messages, dialogue.turns[-1:], thoughts)

    def _system(self, rng: random.Random) -> list[Message]:
        return [_said(Role.SYSTEM, rng.choice(SYSTEM_PROMPTS))] if rng.random() < WITH_SYSTEM else []

    def _sample(self, messages: list[Message], answers: Sequence[str], thoughts: Sequence[str]) -> Sample:
        prompt = lay_out(messages, self._tokenizer, enable_thinking=bool(thoughts))
        sample = self._prompt_sample(messages, prompt)
        shared = len(sample.ids)
        for branch, answer in enumerate(answers, start=1):
            said = [*self._tokenizer.encode(answer), self._end]
            if thoughts:
                thought = self._tokenizer.encode(thoughts[branch - 1])
                said = [*thought, self._tokenizer.special(t.END_THINK), *said]
            # The last token of the prompt is repeated in each branch, where it predicts the first word.
            ids = [prompt.token_ids[-1], *said[:-1]]
            sample.ids += ids
            sample.positions += range(shared, shared + len(ids))
            sample.branches += [branch] * len(ids)
            sample.targets += said
            sample.modalities += [NO_MODALITY] * len(ids)
        return sample

    def _prompt_sample(self, messages: list[Message], prompt: Prompt) -> Sample:
        length = len(prompt.token_ids) - 1
        ids = prompt.token_ids[:length]
        targets = [IGNORE] * length
        for index, message in enumerate(messages):
            if message.role is Role.ASSISTANT:
                start = len(lay_out(messages[:index], self._tokenizer).token_ids)
                text = message.parts[0]
                assert isinstance(text, Text)
                said = [*self._tokenizer.encode(text.text), self._end]
                targets[start - 1 : start - 1 + len(said)] = said
        modalities = [NO_MODALITY] * length
        if prompt.spans:
            for piece in prompt.pieces:
                if piece.message == prompt.pieces[0].message:
                    modalities[piece.start : piece.end] = [piece.modality] * (piece.end - piece.start)
        span = (prompt.spans[0].start, prompt.spans[0].end) if prompt.spans else None
        return Sample(ids, list(range(length)), [0] * length, targets, modalities, span)


@dataclass(frozen=True)
class Batch:
    """B samples padded to T tokens; the first P rows carry a picture."""

    ids_BT: torch.Tensor
    positions_BT: torch.Tensor
    targets_BT: torch.Tensor
    mask_BTT: torch.Tensor
    modality_PT: torch.Tensor
    image_PT: torch.Tensor

    def to(self, device: torch.device) -> Self:
        """The same batch on another device."""
        return type(self)(**{name: tensor.to(device) for name, tensor in vars(self).items()})


def collate(samples: Sequence[Sample]) -> Batch:
    """Pads the samples, those with a picture first."""
    samples = sorted(samples, key=lambda sample: sample.span is None)
    pictures = [sample for sample in samples if sample.span]
    length = max(len(sample.ids) for sample in samples)

    def pad(rows: list[list[int]], value: int) -> torch.Tensor:
        return torch.tensor([row + [value] * (length - len(row)) for row in rows])

    branches_BT = pad([sample.branches for sample in samples], -1)
    row, column = branches_BT.unsqueeze(2), branches_BT.unsqueeze(1)
    mask_BTT = ((column == 0) | (column == row)) & torch.ones(length, length, dtype=torch.bool).tril()
    image_PT = torch.zeros(len(pictures), length, dtype=torch.bool)
    for index, sample in enumerate(pictures):
        assert sample.span
        image_PT[index, slice(*sample.span)] = True
    mask_BTT[: len(pictures)] |= image_PT.unsqueeze(2) & image_PT.unsqueeze(1)
    return Batch(
        ids_BT=pad([sample.ids for sample in samples], 0),
        positions_BT=pad([sample.positions for sample in samples], 0),
        targets_BT=pad([sample.targets for sample in samples], IGNORE),
        mask_BTT=mask_BTT,
        modality_PT=pad([sample.modalities for sample in pictures], NO_MODALITY),
        image_PT=image_PT,
    )


def _said(role: Role, text: str) -> Message:
    return Message(role, (Text(text),))
