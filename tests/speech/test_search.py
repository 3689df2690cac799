"""Beam search against what it must find."""

import itertools
from dataclasses import replace

import pytest
import torch

from services.speech.model.decoder import BOUNDARY
from services.speech.phrases import PhraseMachine
from services.speech.recogniser import Recogniser
from services.speech.search import Beam, Heard, search

NOTHING = torch.tensor([1, 2])


def states(frames: int, seed: int) -> torch.Tensor:
    return torch.randn(frames, 32, generator=torch.Generator().manual_seed(seed))


def score(recogniser: Recogniser, clip: Heard, ids: tuple[int, ...]) -> float:
    """Log-probability of a text and its end, by one plain pass."""
    written = torch.tensor([[BOUNDARY, *ids]])
    logits_NV, _ = recogniser.model.decoder.attend(written, clip.states_SD[None])
    logp_NV = logits_NV.log_softmax(-1)
    return float(logp_NV[range(len(ids) + 1), [*ids, BOUNDARY]].sum())


def test_one_beam_takes_the_likeliest_character_each_time(recogniser: Recogniser) -> None:
    clip = Heard(states(20, 0))
    [found] = search(recogniser.model.decoder, [clip], 1, NOTHING)
    written = torch.tensor([[BOUNDARY, *found.ids]])
    logits_NV, _ = recogniser.model.decoder.attend(written, clip.states_SD[None])
    logits_NV[:, NOTHING] = float("-inf")
    assert tuple(logits_NV[:-1].argmax(-1).tolist()) == found.ids


@pytest.mark.parametrize("beams", [1, 4])
def test_its_score_is_the_log_probability_of_the_text(recogniser: Recogniser, beams: int) -> None:
    for seed in range(6):
        clip = Heard(states(9, seed))
        [found] = search(recogniser.model.decoder, [clip], beams, NOTHING)
        if len(found.ids) < clip.most_characters:
            assert found.score == pytest.approx(score(recogniser, clip, found.ids), abs=1e-3)


def test_wide_beams_find_the_best_of_all_short_texts(recogniser: Recogniser) -> None:
    recogniser.model.decoder.output_bias.data[BOUNDARY] += 5.0  # texts end soon
    clip = Heard(states(4, 1))
    letters = range(3, recogniser.config.vocabulary_size)
    texts = [text for length in range(4) for text in itertools.product(letters, repeat=length)]
    best = max(texts, key=lambda text: Beam(text, score(recogniser, clip, text)).ranking)
    [found] = search(recogniser.model.decoder, [clip], 12, NOTHING)
    assert found.ids == best


@pytest.mark.parametrize("beams", [1, 3])
def test_clips_that_share_a_batch_get_what_they_get_alone(recogniser: Recogniser, beams: int) -> None:
    prefixes = [(), (5, 6, 7), (4,), (), (9, 8)]
    clips = [Heard(states(n, n), prefix) for n, prefix in zip((5, 12, 8, 12, 30), prefixes, strict=True)]
    alone = [search(recogniser.model.decoder, [clip], beams, NOTHING)[0].ids for clip in clips]
    together = [found.ids for found in search(recogniser.model.decoder, clips, beams, NOTHING)]
    assert together == alone


def test_a_text_goes_on_from_its_prefix(recogniser: Recogniser) -> None:
    [found] = search(recogniser.model.decoder, [Heard(states(20, 2), prefix=(5, 6, 7))], 2, NOTHING)
    assert found.ids[:3] == (5, 6, 7)


@pytest.mark.parametrize("right", [0, 1, 5, 9])
def test_a_guess_changes_nothing_but_the_number_of_steps(recogniser: Recogniser, right: int) -> None:
    plain = [Heard(states(n, n), prefix) for n, prefix in ((20, ()), (14, (5, 6)), (9, (7,)))]
    expected = search(recogniser.model.decoder, plain, 1, NOTHING)
    guessing = [
        replace(clip, guess=(*text.ids[len(clip.prefix) :][:right], 4, 2, 9)[:12])
        for clip, text in zip(plain, expected, strict=True)
    ]
    found = search(recogniser.model.decoder, guessing, 1, NOTHING)
    assert [text.ids for text in found] == [text.ids for text in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-3)


def test_marks_are_never_written(recogniser: Recogniser) -> None:
    recogniser.model.decoder.output_bias.data[1:3] += 100.0
    [found] = search(recogniser.model.decoder, [Heard(states(20, 3))], 2, NOTHING)
    assert not {1, 2} & set(found.ids)


def test_a_text_that_does_not_end_is_cut_off(recogniser: Recogniser) -> None:
    recogniser.model.decoder.output_bias.data[BOUNDARY] -= 100.0
    clip = Heard(states(10, 4))
    [found] = search(recogniser.model.decoder, [clip], 2, NOTHING)
    assert len(found.ids) == clip.most_characters == 9


def test_a_boosted_phrase_is_preferred(recogniser: Recogniser) -> None:
    clip = Heard(states(10, 5))
    [plain] = search(recogniser.model.decoder, [clip], 6, NOTHING)
    phrase = [7, 9, 8]
    assert phrase not in [list(plain.ids[i : i + 3]) for i in range(len(plain.ids))]
    machine = PhraseMachine([(phrase, 10.0)])
    [biased] = search(recogniser.model.decoder, [Heard(clip.states_SD, phrases=machine)], 6, NOTHING)
    assert phrase in [list(biased.ids[i : i + 3]) for i in range(len(biased.ids))]
