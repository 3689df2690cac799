"""Texts that nobody has spoken, out of what somebody has."""

from pathlib import Path

import numpy as np
import pytest
import torch

from training.speech.bundle import open_bundle
from training.speech.clips import Clip
from training.speech.patchwork import LONGEST_CHARACTER, QUIET, Patchwork


def clip(text: str, voice: str, seed: int) -> Clip:
    samples = np.random.default_rng(seed).standard_normal(24_000) * 1_000
    return Clip(text, samples.astype(np.int16), "made_sentence", voice)


@pytest.fixture
def patchwork(bundle: Path) -> Patchwork:
    model, vocabulary = open_bundle(bundle)
    clips = [clip("今天很好", "one", 0), clip("苹果", "one", 1), clip("红色", "two", 2), clip("無", "two", 3)]
    return Patchwork(model, vocabulary, clips)


def test_a_text_is_heard_at_speaking_length_and_normalised(patchwork: Patchwork) -> None:
    features_TM = patchwork.say("苹果很好", np.random.default_rng(0))
    assert features_TM is not None
    assert 4 <= len(features_TM) - 2 * QUIET[0] <= 150 + 4 * LONGEST_CHARACTER + 2 * QUIET[1]
    assert features_TM.shape[1] == 40
    assert torch.allclose(features_TM.mean(0), torch.zeros(40), atol=1e-4)


def test_one_voice_has_to_have_said_every_syllable(patchwork: Patchwork) -> None:
    rng = np.random.default_rng(0)
    assert patchwork.say("红苹果", rng) is None
    assert patchwork.say("再见", rng) is None


def test_the_longest_run_is_taken_as_it_was_spoken(patchwork: Patchwork) -> None:
    pieces = patchwork._find(
        patchwork._runs["one"], ("jin1", "tian1", "hen3", "hao3"), np.random.default_rng(0)
    )
    assert pieces is not None
    assert len(pieces) == 1
