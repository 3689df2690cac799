"""Samples to text with plain functions: the tiny random recogniser, and the bundled one on a sentence."""

import itertools

import pytest
import torch

from services.speech.audio import AudioFormat, read_clip
from services.speech.phrases import PhraseMachine
from services.speech.recogniser import Recogniser
from services.speech.resampling import resample

TEXT = "我要那个红色的苹果在哪儿"


@pytest.fixture(scope="module")
def samples() -> torch.Tensor:
    from pathlib import Path

    data = (Path(__file__).parent / "clips" / "apple.opus").read_bytes()
    clip = read_clip(data, AudioFormat(), max_seconds=60)
    return resample(torch.from_numpy(clip.samples), clip.rate, 22_050)


@pytest.mark.parametrize("beams", [1, 4])
def test_the_bundled_weights_understand_what_is_said(
    bundled: Recogniser, samples: torch.Tensor, beams: int
) -> None:
    hypothesis = bundled.decode(bundled.encode_full(samples), beams=beams)
    assert hypothesis.text == TEXT
    assert hypothesis.confidence > 0.8


def test_characters_follow_each_other_within_the_clip(bundled: Recogniser, samples: torch.Tensor) -> None:
    states_SD = bundled.encode_full(samples)
    ids = bundled.decode(states_SD).ids
    characters = bundled.explain(states_SD, ids, bundled.quiet(samples)).characters
    assert all(a.end_s == b.start_s < b.end_s for a, b in itertools.pairwise(characters))
    assert characters[-1].end_s <= len(samples) / 22_050 + 0.05
    assert 0.3 < characters[0].end_s < 1.5
    assert all(0 <= character.confidence <= 1 for character in characters)


def test_a_given_beginning_is_kept(bundled: Recogniser, samples: torch.Tensor) -> None:
    states_SD = bundled.encode_full(samples)
    prefix = bundled.vocabulary.ids(TEXT[:4])
    assert prefix is not None
    assert bundled.decode(states_SD, prefix=prefix).text == TEXT


def test_loudness_does_not_matter(bundled: Recogniser, samples: torch.Tensor) -> None:
    for gain in (0.03, 3.0):
        assert bundled.decode(bundled.encode_full(samples * gain)).text == TEXT


def test_a_boosted_phrase_is_heard_instead_of_what_sounds_like_it(
    bundled: Recogniser, samples: torch.Tensor
) -> None:
    states_SD = bundled.encode_full(samples)
    ids = bundled.vocabulary.ids("红涩")
    assert ids is not None
    assert "红涩" in bundled.decode(states_SD, phrases=PhraseMachine([(ids, 8.0)])).text
    assert bundled.decode(states_SD, phrases=PhraseMachine([(ids, 0.0)])).text == TEXT


def test_clips_that_share_a_batch_get_the_states_they_get_alone(recogniser: Recogniser) -> None:
    torch.manual_seed(0)
    clips = [recogniser.features(torch.randn(size)) for size in (9_000, 22_050, 15_000)]
    together = recogniser.encode(clips)
    for clip, states_SD in zip(clips, together, strict=True):
        assert torch.allclose(states_SD, recogniser.encode([clip])[0], atol=1e-5)


def test_each_character_has_a_row_in_the_language_models_space(recogniser: Recogniser) -> None:
    states_SD = recogniser.encode_full(torch.randn(22_050, generator=torch.Generator().manual_seed(1)))
    hypothesis = recogniser.explain(states_SD, [3, 4, 5])
    posteriors_NV, _ = recogniser.posteriors(states_SD, [3, 4, 5])
    assert hypothesis.embedding_ND.shape == (3, 32)
    assert torch.allclose(hypothesis.embedding_ND, recogniser.model.project(posteriors_NV))
    assert torch.allclose(posteriors_NV.sum(-1), torch.ones(3))


def test_no_text_has_no_rows(recogniser: Recogniser) -> None:
    states_SD = recogniser.encode_full(torch.zeros(22_050))
    nothing = recogniser.explain(states_SD, [])
    assert (nothing.text, nothing.confidence, nothing.embedding_ND.shape) == ("", 0.0, (0, 32))


def test_the_shortest_stretch_stands_in_quiet(recogniser: Recogniser) -> None:
    assert len(recogniser.encode_full(torch.ones(10))) > 1
