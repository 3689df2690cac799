"""Characters in time."""

import itertools

import torch

from services.speech.alignment import align


def test_characters_lie_where_the_decoder_looked() -> None:
    looks_LHNS = torch.full((1, 2, 3, 12), 0.01)
    for character, frames in enumerate(((0, 3), (3, 8), (8, 12))):
        looks_LHNS[:, 0, character, slice(*frames)] = 0.3
    assert align(looks_LHNS) == [(0, 3), (3, 8), (8, 12)]


def test_a_head_that_looks_everywhere_counts_for_little() -> None:
    looks_LHNS = torch.full((1, 3, 2, 10), 0.1)
    looks_LHNS[0, 0] = torch.eye(2).repeat_interleave(5, 1) / 5
    looks_LHNS[0, 0, :, [0, 9]] += 0.5 * torch.eye(2)
    assert align(looks_LHNS) == [(0, 5), (5, 10)]


def test_spans_follow_each_other_without_gap() -> None:
    for seed in range(20):
        looks_LHNS = torch.rand(2, 2, 7, 30, generator=torch.Generator().manual_seed(seed))
        spans = align(looks_LHNS)
        assert (spans[0][0], spans[-1][1], len(spans)) == (0, 30, 7)
        assert all(a[1] == b[0] and a[0] < a[1] for a, b in itertools.pairwise(spans))


def test_more_characters_than_frames_still_have_times_in_order() -> None:
    spans = align(torch.rand(1, 1, 5, 3))
    assert len(spans) == 5
    assert spans == sorted(spans)
