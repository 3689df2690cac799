"""When each character was spoken: the cheapest monotonic path through what the decoder looked at."""

import itertools

import numpy as np
import torch


def align(looks_LHNS: torch.Tensor) -> list[tuple[int, int]]:
    """First frame and frame after the last of each of N characters, from attention weights.

    Like Whisper's timestamps (https://github.com/openai/whisper/pull/869), which use heads chosen by hand;
    here each head weighs by how sharply it looks.
    """
    looks_HNS = looks_LHNS.flatten(0, 1).float()
    sharpness_H = (looks_HNS**2).sum(-1).mean(-1)
    weights_H = sharpness_H / sharpness_H.sum()
    cost = -(looks_HNS * weights_H[:, None, None]).sum(0).clamp_min(1e-6).log().cpu().numpy()
    return _path(cost)


def _path(cost: np.ndarray) -> list[tuple[int, int]]:
    """Splits frames among characters in order; each gets one frame at least where there are enough."""
    characters, frames = cost.shape
    if characters > frames:
        edges = np.linspace(0, frames, characters + 1).astype(int)
        return [(int(a), max(int(a) + 1, int(b))) for a, b in itertools.pairwise(edges)]
    total = np.full((characters, frames), np.inf)
    total[0] = np.cumsum(cost[0])
    moved = np.zeros((characters, frames), bool)
    for n in range(1, characters):
        for s in range(n, frames):
            stay, step = total[n, s - 1], total[n - 1, s - 1]
            moved[n, s] = step <= stay
            total[n, s] = min(stay, step) + cost[n, s]
    spans, n, end = [], characters - 1, frames
    for s in range(frames - 1, -1, -1):
        if n == 0 or moved[n, s]:
            start = 0 if n == 0 else s
            spans.append((start, end))
            end, n = start, n - 1
            if n < 0:
                break
    return spans[::-1]
