"""Positions, subsampling and batches of unlike clips."""

import pytest
import torch

from services.speech.model.config import SpeechConfig
from services.speech.model.encoder import SpeechEncoder, positions, subsampled


@pytest.mark.parametrize("frames", [7, 8, 9, 10, 11, 50, 99])
def test_four_frames_become_one(frames: int) -> None:
    states_BSD = SpeechEncoder(SpeechConfig.tiny(5))(torch.randn(1, frames, 40))
    assert states_BSD.shape == (1, subsampled(frames), 32)


def test_positions_go_on_where_an_offset_says() -> None:
    assert torch.equal(positions(10, 32)[4:], positions(6, 32, offset=4))
    assert positions(1, 4).tolist() == [[0.0, 1.0, 0.0, 1.0]]


def test_what_fills_a_batch_up_is_not_heard() -> None:
    torch.manual_seed(0)
    encoder = SpeechEncoder(SpeechConfig.tiny(5)).eval()
    features_BTM = torch.randn(1, 43, 40)
    filled_BTM = torch.nn.functional.pad(features_BTM, (0, 0, 0, 30), value=7.0)
    count = subsampled(43)
    mask = (torch.arange(subsampled(73)) < count)[None, None, None]
    assert torch.allclose(encoder(filled_BTM, mask)[:, :count], encoder(features_BTM), atol=1e-5)
