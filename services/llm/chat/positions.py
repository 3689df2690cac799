"""Where the tokens of a prompt stand, for backbones whose pictures have height and width."""

import torch

from services.llm.model.config import DecoderConfig
from services.llm.model.mrope import PictureSpan, mrope_positions
from services.llm.prompt import Prompt


def positions_of(prompt: Prompt, config: DecoderConfig) -> tuple[torch.Tensor | None, int]:
    """Positions [3, T] and the delta of what follows; None where tokens simply count on."""
    if not (config.mrope_section and prompt.spans):
        return None, 0
    pictures = [
        PictureSpan(span.start, span.media.grid_thw)
        for span in prompt.spans
        if span.media.grid_thw is not None
    ]
    return mrope_positions(len(prompt.token_ids), pictures, config.spatial_merge_size)
