"""A clip is cut where a live stream would cut it, for as long as somebody wants it."""

import itertools

import numpy as np
import pytest

from services.speech.audio import AudioFormat, Clip, read_clip
from services.speech.utterances import PIECE_S, endpoint_settings, find_utterances
from services.speech.voice import VoiceNetwork

SETTINGS = endpoint_settings(0.8, 20.0, 0.4)


@pytest.fixture(scope="module")
def network() -> VoiceNetwork:
    return VoiceNetwork()


@pytest.fixture
def clip(spoken: bytes) -> Clip:
    """Said four times, with silence in between."""
    once = read_clip(spoken, AudioFormat(), max_seconds=60)
    pause = np.zeros(2 * once.rate, np.float32)
    return Clip(np.concatenate([once.samples, pause] * 4), once.rate)


def test_a_clip_is_cut_at_its_pauses(network: VoiceNetwork, clip: Clip) -> None:
    stretches = find_utterances(clip, network, SETTINGS)
    assert len(stretches) == 4
    assert all(before.end <= after.start for before, after in itertools.pairwise(stretches))


def test_what_nobody_wants_any_more_is_not_searched_to_its_end(network: VoiceNetwork, clip: Clip) -> None:
    asked = 0

    def is_wanted() -> bool:
        nonlocal asked
        asked += 1
        return asked < 2

    stretches = find_utterances(clip, network, SETTINGS, is_wanted)
    assert all(stretch.end <= PIECE_S * clip.rate for stretch in stretches)
    assert asked == 2
