"""Beam search over the decoder, many clips at a time; one beam is greedy search."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch

from services.speech.model.decoder import BOUNDARY, SpeechDecoder
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


@torch.inference_mode()
def search(decoder: SpeechDecoder, clips: Sequence[Heard], beams: int, forbidden: torch.Tensor) -> list[Beam]:
    """The best text of each clip, its prefix included; `forbidden` ids are never written.

    All clips of a call must have prefixes of one length.
    """
    alive = [[Beam(clip.prefix, 0.0, clip.phrase_state)] for clip in clips]
    done: list[list[Beam]] = [[] for _ in clips]
    states_BSD, mask_B11S = _padded([clip.states_SD for clip in clips])
    memory = decoder.listen(states_BSD, mask_B11S)
    fed = torch.tensor([[BOUNDARY, *clip.prefix] for clip in clips], device=states_BSD.device)
    while any(alive):
        logits_RNV = decoder(fed, memory)
        logp_RV = logits_RNV[:, -1].float().log_softmax(-1)
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
            fed = torch.tensor(written, device=states_BSD.device)
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
