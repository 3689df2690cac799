"""Conversations as rows of tokens: prompts once, several answers side by side.

A sample is a row of tokens in branches. Branch 0 is seen by all; branch k > 0 is one answer, which sees
branch 0 and itself only. So five captions of one photo cost one prompt.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from services.llm import tokenizer as t
from services.llm.model.fusion import NO_MODALITY, Modality
from services.llm.prompt import Media, Message, Prompt, Role, Text, lay_out
from services.llm.tokenizer import Tokenizer
from training.data.dialogues import Dialogue
from training.data.hearing import Heard, Hearing
from training.data.turns import Places, Turn

IGNORE = -100
SYSTEM_PROMPTS = ("你是一个有用的助手。", "You are a helpful assistant.", "你是AutoGLM。", "请用中文回答。")
PICTURE_FIRST = 0.6
WITH_SYSTEM = 0.1
WITH_THOUGHT = 0.15
SPOKEN = 0.3
LINE_BREAK = " "  # between lines of text that were read
UNSEEN = Turn("", (), ())
THOUGHTS = 2  # answers that are thought through, per sample: they are long


@dataclass
class Sample:
    """One row; all its lists are of equal length.

    others, weights: a heard token is `weight` of `ids` and the rest of `others`. spans: 0, or which medium of
    the row the token belongs to, from 1. gates: per message with media, the modality of each of its tokens.
    seen: per token, which tokens of the row it should look at, since they show what is said next; empty where
    that is not known. Tokens of a later picture should look at the end of the one before.
    """

    ids: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    branches: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    spans: list[int] = field(default_factory=list)
    pictures: list[tuple[int, int]] = field(default_factory=list)
    gates: list[list[int]] = field(default_factory=list)
    seen: list[Places] = field(default_factory=list)

    def append(
        self,
        ids: Sequence[int],
        targets: Sequence[int],
        branch: int,
        position: int,
        seen: Sequence[Places] | None = None,
    ) -> None:
        """Adds plain tokens."""
        count = len(ids)
        self.seen += seen or [()] * count
        self.ids += ids
        self.others += ids
        self.weights += [1.0] * count
        self.positions += range(position, position + count)
        self.branches += [branch] * count
        self.targets += targets
        self.spans += [0] * count


class SampleBuilder:
    """Turns questions and dialogues into samples, with the words that `rng` chooses."""

    spoken_share = SPOKEN

    def __init__(self, tokenizer: Tokenizer, image_tokens: int, hearing: Hearing):
        self._tokenizer, self._hearing = tokenizer, hearing
        self._picture = self.picture(image_tokens)
        self._end = tokenizer.special(t.USER)

    @staticmethod
    def picture(image_tokens: int) -> Media:
        """The place of a picture."""
        return Media(Modality.IMAGE, image_tokens, b"")

    def pictures(self, turns: Sequence[Turn], rng: random.Random, written: Sequence[str] = ()) -> Sample:
        """A conversation about pictures; the last turn is what is learned most.

        written: lines of text that were read in them.
        """
        heard: list[list[Heard]] = []
        messages = self._system(rng)
        for before, turn in zip((None, *turns), turns, strict=False):
            if before:
                messages.append(_said(Role.ASSISTANT, before.answers[0]))
            count = turn.pictures or (before is None)
            messages.append(Message(Role.USER, self._parts(turn.question, count, heard, rng, written)))
        last, single = turns[-1], len(turns) == 1
        if rng.random() < WITH_THOUGHT:
            kept = THOUGHTS if single else 1
            return self._sample(messages, last.answers[:kept], last.thoughts[:kept], heard, last)
        return self._sample(messages, last.answers if single else last.answers[:1], (), heard, last)

    def dialogue(self, dialogue: Dialogue, rng: random.Random) -> Sample:
        """Without a picture; every reply is learned."""
        heard: list[list[Heard]] = []
        messages = self._system(rng)
        for index, text in enumerate(dialogue.turns[:-1]):
            if index % 2:
                messages.append(_said(Role.ASSISTANT, text))
            else:
                messages.append(Message(Role.USER, self._parts(text, 0, heard, rng)))
        thoughts = (dialogue.thought,) if rng.random() < WITH_THOUGHT else ()
        return self._sample(messages, dialogue.turns[-1:], thoughts, heard)

    def _parts(
        self,
        question: str,
        pictures: int,
        heard: list[list[Heard]],
        rng: random.Random,
        written: Sequence[str] = (),
    ) -> tuple[Text | Media, ...]:
        shown = (replace(self._picture, written=LINE_BREAK.join(written)),) * pictures
        asked: tuple[Text | Media, ...] = (Text(question),)
        if self._hearing.can_be_spoken(question) and rng.random() < self.spoken_share:
            heard.append(self._hearing.hear(question, rng))
            asked = (Media(Modality.AUDIO, len(heard[-1]), b""),)
        return (*shown, *asked) if rng.random() < PICTURE_FIRST else (*asked, *shown)

    def _system(self, rng: random.Random) -> list[Message]:
        return [_said(Role.SYSTEM, rng.choice(SYSTEM_PROMPTS))] if rng.random() < WITH_SYSTEM else []

    def _sample(
        self,
        messages: list[Message],
        answers: Sequence[str],
        thoughts: Sequence[str],
        heard: Sequence[list[Heard]],
        turn: Turn = UNSEEN,
    ) -> Sample:
        prompt = lay_out(messages, self._tokenizer, enable_thinking=bool(thoughts))
        sample = self._prompt_sample(messages, prompt, heard)
        shared = len(sample.ids)
        tokens = [at for start, end in sample.pictures for at in range(start, end)]
        for branch, answer in enumerate(answers, start=1):
            said, seen = [*self._tokenizer.encode(answer), self._end], self._seen(answer, turn, tokens)
            if thoughts:
                thought = thoughts[branch - 1]
                said = [*self._tokenizer.encode(thought), self._tokenizer.special(t.END_THINK), *said]
                seen = [*self._seen(thought, turn, tokens), *seen]
            # The last token of the prompt is repeated in each branch, where it predicts the first word.
            sample.append([prompt.token_ids[-1], *said[:-1]], said, branch, shared, seen)
        return sample

    def _seen(self, text: str, turn: Turn, tokens: Sequence[int]) -> list[Places]:
        """For each token of the text and the one that ends it, which of the pictures' `tokens` show it.

        What is nowhere is sought at the first token of all.
        """
        encode = self._tokenizer.encode
        whole = () if turn.seen_at is None else tuple(tokens[place] for place in turn.seen_at) or (0,)
        seen: list[Places] = [whole] * (len(encode(text)) + 1)
        for phrase in sorted(turn.shown, key=len):  # the longer one knows better
            places = tuple(tokens[place] for place in turn.shown[phrase])
            for found in re.finditer(re.escape(phrase), text):
                first, end = len(encode(text[: found.start()])), len(encode(text[: found.end()]))
                seen[first:end] = [places] * (end - first)
        return seen

    def _prompt_sample(self, messages: list[Message], prompt: Prompt, heard: Sequence[list[Heard]]) -> Sample:
        length = len(prompt.token_ids) - 1
        targets = [IGNORE] * length
        for index, message in enumerate(messages):
            if message.role is Role.ASSISTANT:
                start = len(lay_out(messages[:index], self._tokenizer).token_ids)
                text = message.parts[0]
                assert isinstance(text, Text)
                said = [*self._tokenizer.encode(text.text), self._end]
                targets[start - 1 : start - 1 + len(said)] = said
        sample = Sample()
        sample.append(prompt.token_ids[:length], targets, 0, 0)
        voices = iter(heard)
        for number, span in enumerate(prompt.spans, start=1):
            sample.spans[span.start : span.end] = [number] * (span.end - span.start)
            if span.media.modality is Modality.IMAGE:
                if sample.pictures:
                    # So that a later picture's tokens know that they are not the first one's.
                    _, before = sample.pictures[-1]
                    sample.seen[span.start : span.end] = [(before,)] * (span.end - span.start)
                sample.pictures.append((span.start, span.end))
            else:
                self._hear(sample, span.start, next(voices))
        for place in sorted({p.message for p in prompt.pieces if p.modality is not Modality.TEXT}):
            row = [NO_MODALITY] * length
            for piece in prompt.pieces:
                if piece.message == place:
                    row[piece.start : piece.end] = [piece.modality] * (piece.end - piece.start)
            sample.gates.append(row)
        return sample

    def _hear(self, sample: Sample, start: int, heard: Sequence[Heard]) -> None:
        for at, one in enumerate(heard, start):
            sample.ids[at] = self._tokenizer.encode(one.character)[0]
            sample.others[at] = self._tokenizer.encode(one.other)[0]
            sample.weights[at] = one.weight


def _said(role: Role, text: str) -> Message:
    return Message(role, (Text(text),))
