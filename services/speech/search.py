"""Beam search over the decoder, many clips at a time; one beam is greedy search."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import takewhile

import torch

from services.speech.model.decoder import BOUNDARY, DecoderMemory, SpeechDecoder
from services.speech.phrases import PhraseMachine

# Of the OpenNMT length norm (https://arxiv.org/abs/1609.08144): longer texts are not worse for being longer.
LENGTH_POWER = 0.6
LENGTH_OFFSET = 5
NEVER = float("-inf")


@dataclass(frozen=True)
class Beam:
    """A text in the making."""

    ids: tuple[int, ...]
    score: float
    phrase_state: int = 0

    @property
    def ranking(self) -> float:
        """The score, made comparable between lengths."""
        length = len(self.ids) + LENGTH_OFFSET
        return self.score / math.pow(length / (1 + LENGTH_OFFSET), LENGTH_POWER)


@dataclass(frozen=True)
class Heard:
    """One clip to write down: its states [S, D], the text it begins with, the phrases that are likelier."""

    states_SD: torch.Tensor
    prefix: tuple[int, ...] = ()
    phrases: PhraseMachine | None = None
    guess: tuple[int, ...] = ()
    """What may well follow the prefix: greedy search reads in one pass what it would have written."""

    @property
    def phrase_state(self) -> int:
        """What the prefix is in the middle of saying."""
        if self.phrases is None:
            return 0
        return reduce(self.phrases.advance, self.prefix, 0)

    @property
    def most_characters(self) -> int:
        """Nobody speaks faster than 12 characters a second: one for every two frames."""
        return len(self.prefix) + 4 + len(self.states_SD) // 2

    def guess_for(self, beams: int) -> tuple[int, ...]:
        """As much of the guess as can be of use; one character at least is left to write."""
        if beams > 1 or self.phrases is not None:
            return ()
        return self.guess[: self.most_characters - len(self.prefix) - 1]


@torch.inference_mode()
def search(decoder: SpeechDecoder, clips: Sequence[Heard], beams: int, forbidden: torch.Tensor) -> list[Beam]:
    """The best text of each clip, its prefix included; `forbidden` ids are never written."""
    states_BSD, mask_B11S = _padded([clip.states_SD for clip in clips])
    memory = decoder.listen(states_BSD, mask_B11S)
    guesses = [clip.guess_for(beams) for clip in clips]
    fed, real = _lined_up([clip.prefix + guess for clip, guess in zip(clips, guesses, strict=True)])
    logits_BNV = decoder(fed.to(states_BSD.device), memory, real.to(states_BSD.device))
    logp_RV, begun = _after_guesses(logits_BNV.float().log_softmax(-1), memory, clips, guesses, forbidden)
    alive = [[beam] for beam in begun]
    done: list[list[Beam]] = [[] for _ in clips]
    while any(alive):
        logp_RV[:, forbidden] = NEVER
        row, keep, written = 0, [], []
        for index, clip in enumerate(clips):
            rows = range(row, row + len(alive[index]))
            row += len(alive[index])
            grown = _grow(alive[index], rows, logp_RV, beams, clip.phrases)
            done[index] += [beam for beam, _, last in grown if last == BOUNDARY]
            going = [(beam, source, last) for beam, source, last in grown if last != BOUNDARY]
            alive[index] = _still_alive(clip, going, done[index], beams)
            for beam, source, last in going:
                if beam in alive[index]:
                    keep.append(source)
                    written.append([last])
        if keep:
            memory.select(torch.tensor(keep, device=states_BSD.device))
            logits_RNV = decoder(torch.tensor(written, device=states_BSD.device), memory)
            logp_RV = logits_RNV[:, -1].float().log_softmax(-1)
    return [max(beams_of_clip, key=lambda beam: beam.ranking) for beams_of_clip in done]


def _grow(
    alive: list[Beam], rows: range, logp_RV: torch.Tensor, beams: int, phrases: PhraseMachine | None
) -> list[tuple[Beam, int, int]]:
    """The best continuations: (text, row it came from, character added)."""
    if not alive:
        return []
    scores_RV = logp_RV[rows.start : rows.stop] + torch.tensor([[beam.score] for beam in alive]).to(logp_RV)
    if phrases is not None:
        for place, beam in enumerate(alive):
            plain, special = phrases.bonuses(beam.phrase_state)
            scores_RV[place] += plain
            for character, bonus in special.items():
                scores_RV[place, character] += bonus - plain
    best = scores_RV.flatten().topk(beams)
    grown = []
    for score, flat in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        place, character = divmod(flat, scores_RV.shape[1])
        beam = alive[place]
        ids = beam.ids if character == BOUNDARY else (*beam.ids, character)
        state = phrases.advance(beam.phrase_state, character) if phrases is not None else 0
        grown.append((Beam(ids, score, state), rows.start + place, character))
    return grown


def _still_alive(clip: Heard, going: list[tuple[Beam, int, int]], done: list[Beam], beams: int) -> list[Beam]:
    """Texts worth going on with: none once as many are done, or the best one done is out of reach."""
    alive = [beam for beam, _, _ in going]
    if alive and len(alive[0].ids) >= clip.most_characters:
        done += alive  # cut off, but better than nothing
        return []
    if len(done) >= beams:
        return []
    return alive


def _padded(states: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """States of several clips as one batch, and which of its frames are real."""
    longest = max(len(own) for own in states)
    if all(len(own) == longest for own in states):
        return torch.stack(states), None
    lengths = torch.tensor([len(own) for own in states], device=states[0].device)
    mask = torch.arange(longest, device=lengths.device) < lengths[:, None]
    return torch.nn.utils.rnn.pad_sequence(states, batch_first=True), mask[:, None, None]


def _lined_up(texts: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts behind their boundaries as one batch, filled up in front; and which characters are real."""
    longest = max(map(len, texts))
    missing_B = torch.tensor([longest - len(text) for text in texts])
    rows = [[BOUNDARY] * (longest - len(text) + 1) + list(text) for text in texts]
    return torch.tensor(rows), torch.arange(longest + 1) >= missing_B[:, None]


def _after_guesses(
    logp_BNV: torch.Tensor,
    memory: DecoderMemory,
    clips: Sequence[Heard],
    guesses: Sequence[tuple[int, ...]],
    forbidden: torch.Tensor,
) -> tuple[torch.Tensor, list[Beam]]:
    """What may follow [B, V] each guess as far as it is right, and the texts up to there."""
    following, beams = [], []
    for row, (clip, guess) in enumerate(zip(clips, guesses, strict=True)):
        own_NV = logp_BNV[row, logp_BNV.shape[1] - 1 - len(guess) :]
        likeliest = own_NV.index_fill(1, forbidden, NEVER).argmax(-1).tolist()
        right = sum(
            1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(guess, likeliest, strict=False))
        )
        if right < len(guess):
            memory.seen_BT[row, right - len(guess) :] = False
        score = float(own_NV[range(right), list(guess[:right])].sum())
        beams.append(Beam(clip.prefix + guess[:right], score, clip.phrase_state))
        following.append(own_NV[right])
    return torch.stack(following), beams
