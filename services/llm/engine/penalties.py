"""Lowers what was said before, without walking over it again for each token.

Shapes: N rows of logits, V vocabulary, S scores that change, of all rows together.
"""

from collections.abc import Iterator
from weakref import WeakKeyDictionary

import torch

from services.llm.engine.request import Sequence


class Penalties:
    """Repetition (arXiv:1909.05858) counts prompt and answer; frequency and presence the answer alone."""

    def __init__(self) -> None:
        self._histories: WeakKeyDictionary[Sequence, History] = WeakKeyDictionary()

    def apply(self, logits_NV: torch.Tensor, rows: list[tuple[int, Sequence, tuple[int, ...]]]) -> None:
        """Changes in place the rows named: a sequence's first, followed by one after each of its drafts."""
        at: list[int] = []
        ids: list[int] = []
        counts: list[int] = []
        rules: list[tuple[float, float, float]] = []
        for first, sequence, drafts in rows:
            params = sequence.request.sampling
            rule = (params.repetition_penalty, params.frequency_penalty, params.presence_penalty)
            for row, history in enumerate(self._of(sequence).along(drafts), start=first):
                at += [row] * len(history.ids)
                rules += [rule] * len(history.ids)
                ids += history.ids
                counts += history.counts
        if not at:
            return
        device = logits_NV.device
        at_S, ids_S, counts_S = torch.tensor([at, ids, counts], device=device).unbind()
        repetition_S, frequency_S, presence_S = torch.tensor(rules, device=device).unbind(-1)
        scores_S = logits_NV[at_S, ids_S]
        scores_S = torch.where(scores_S > 0, scores_S / repetition_S, scores_S * repetition_S)
        logits_NV[at_S, ids_S] = scores_S - counts_S * frequency_S - (counts_S > 0) * presence_S

    def _of(self, sequence: Sequence) -> "History":
        history = self._histories.get(sequence)
        if history is None:
            repetition = sequence.request.sampling.repetition_penalty != 1.0
            history = History(sequence.request.token_ids if repetition else [])
            self._histories[sequence] = history
        history.extend(sequence.token_ids[len(sequence.request.token_ids) + history.length :])
        return history


class History:
    """Tokens said by a sequence, how often each; those of the prompt stand there with count 0."""

    def __init__(self, prompt_ids: list[int]):
        self.ids = list(dict.fromkeys(prompt_ids))
        self.counts = [0] * len(self.ids)
        self.length = 0
        self._place = {token: place for place, token in enumerate(self.ids)}

    def extend(self, token_ids: list[int]) -> None:
        for token in token_ids:
            self._add(token)
        self.length += len(token_ids)

    def along(self, drafts: tuple[int, ...]) -> Iterator["History"]:
        """Itself, then itself after each draft; forgets the drafts at the end."""
        yield self
        known = len(self.ids)
        for draft in drafts:
            self._add(draft)
            yield self
        for draft in drafts:
            self.counts[self._place[draft]] -= 1
        for token in self.ids[known:]:
            del self._place[token]
        del self.ids[known:], self.counts[known:]

    def _add(self, token: int) -> None:
        place = self._place.setdefault(token, len(self.ids))
        if place == len(self.ids):
            self.ids.append(token)
            self.counts.append(0)
        self.counts[place] += 1
