"""How much quiet a clip lacks, and that it gets no more."""

import pytest
import torch

from services.speech.quiet import LEVEL, QUIET_S, Quiet, Surroundings, lacking

RATE = 22_050
CPU = torch.device("cpu")


def speech(before_s: float, after_s: float) -> torch.Tensor:
    torch.manual_seed(0)
    pieces = [torch.randn(round(s * RATE)) for s in (before_s, 1.0, after_s)]
    return torch.cat([pieces[0] * 1e-3, pieces[1] * 0.3, pieces[2] * 1e-3])


@pytest.mark.parametrize(
    ("before_s", "after_s", "expected"), [(0.0, 0.0, (0.5, 0.5)), (0.2, 0.0, (0.3, 0.5)), (0.6, 2.0, (0, 0))]
)
def test_a_clip_lacks_what_is_missing_to_half_a_second(
    before_s: float, after_s: float, expected: tuple[float, float]
) -> None:
    quiet = lacking(speech(before_s, after_s), RATE)
    assert (quiet.before_s, quiet.after_s) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("samples_N", [torch.zeros(RATE), torch.ones(10), torch.zeros(0)])
def test_what_has_no_sound_lacks_all_of_it(samples_N: torch.Tensor) -> None:
    assert lacking(samples_N, RATE) == Quiet(QUIET_S, QUIET_S)


def test_loudness_does_not_matter() -> None:
    samples_N = speech(0.2, 0.1)
    assert lacking(samples_N * 0.01, RATE) == lacking(samples_N, RATE)


def test_the_clip_stays_as_it_is_between_faint_noise() -> None:
    samples_N = speech(0.0, 0.6)
    framed_N = Surroundings(RATE, CPU).put_around(samples_N)
    before = len(framed_N) - len(samples_N)
    assert before == pytest.approx(QUIET_S * RATE, abs=1)
    assert torch.equal(framed_N[before:], samples_N)
    assert 0 < framed_N[:before].abs().max() < 6 * LEVEL * samples_N.abs().max()
