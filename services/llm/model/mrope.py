"""Positions of a prompt with pictures, for decoders with M-RoPE (arXiv:2409.12191, as in GLM-4.1V).

Text counts on by one on all three axes. The tokens of a picture share one time and have the height and width
of their place in it; the text behind it goes on where the longer side ends. So a prompt takes up fewer
positions than tokens, and the tokens generated after it stand at their index plus a negative delta.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class PictureSpan:
    """A picture's tokens in the prompt, from `start` on; grid_thw counts its patches before the merge."""

    start: int
    grid_thw: tuple[int, int, int]

    def merged(self, merge_size: int) -> tuple[int, int, int]:
        """Time, height and width in tokens."""
        time, height, width = self.grid_thw
        return time, height // merge_size, width // merge_size


def mrope_positions(
    length: int, pictures: Sequence[PictureSpan], merge_size: int
) -> tuple[torch.Tensor, int]:
    """Positions int64 [3, T] of a prompt of `length` tokens, and the delta of what is generated after it.

    Pictures stand in order. Raises ValueError where they overlap or reach beyond the prompt.
    """
    parts, token, position = [], 0, 0
    for picture in pictures:
        time, height, width = grid = picture.merged(merge_size)
        count, text = time * height * width, picture.start - token
        if text < 0 or picture.start + count > length:
            raise ValueError(f"a picture of {count} tokens at {picture.start} does not fit {length} tokens")
        parts.append(torch.arange(position, position + text).expand(3, -1))
        position += text
        parts.append(position + torch.cartesian_prod(*map(torch.arange, grid)).T)
        position += max(height, width)
        token = picture.start + count
    parts.append(torch.arange(position, position + length - token).expand(3, -1))
    positions_3T = torch.cat(parts, dim=1)
    return positions_3T, int(positions_3T.max()) + 1 - length
