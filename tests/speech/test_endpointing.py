"""Where utterances begin and end."""

import itertools
import random

import pytest

from services.speech.endpointing import Begin, End, Endpointer, EndpointSettings

SETTINGS = EndpointSettings(window_s=0.1, silence_s=0.5, padding_s=0.3, longest_s=6.0)


def ends(probabilities: list[float], settings: EndpointSettings = SETTINGS) -> list[tuple[int, int]]:
    endpointer = Endpointer(settings)
    events = [*endpointer.feed(probabilities), *endpointer.flush()]
    return [(event.first, event.last) for event in events if isinstance(event, End)]


def test_silence_holds_no_utterance() -> None:
    assert ends([0.1] * 50) == []


def test_an_utterance_keeps_a_little_silence_around_it() -> None:
    assert ends([0.0] * 10 + [0.9] * 10 + [0.0] * 10) == [(7, 23)]


def test_a_short_pause_ends_nothing() -> None:
    assert ends([0.9] * 5 + [0.0] * 4 + [0.9] * 5 + [0.0] * 9) == [(0, 17)]


def test_a_weak_syllable_ends_nothing() -> None:
    assert ends([0.9] * 5 + [0.4] * 9 + [0.0] * 9) == [(0, 17)]


def test_a_long_pause_makes_two_utterances_that_do_not_overlap() -> None:
    [first, second] = ends([0.9] * 5 + [0.0] * 5 + [0.9] * 5 + [0.0] * 9)
    assert first == (0, 8)
    assert second == (8, 18)


def test_the_end_of_the_stream_ends_an_utterance() -> None:
    assert ends([0.9] * 5) == [(0, 5)]
    assert ends([0.9] * 5 + [0.0] * 2) == [(0, 7)]


def test_a_long_utterance_is_cut_where_speech_was_least_likely() -> None:
    speech = [0.9] * 100
    speech[50] = 0.4
    assert ends(speech)[:2] == [(0, 50), (50, 100)]


def test_no_utterance_is_longer_than_allowed() -> None:
    draw = random.Random(0)
    for _ in range(50):
        found = ends([draw.choice((0.1, 0.9, 0.9, 0.9)) for _ in range(400)])
        assert all(0 < last - first <= 60 for first, last in found)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(found))


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_the_cut_into_chunks_does_not_matter(chunk: int) -> None:
    draw = random.Random(1)
    probabilities = [draw.random() ** 2 for _ in range(500)]
    endpointer = Endpointer(SETTINGS)
    events: list[Begin | End] = []
    for start in range(0, 500, chunk):
        events += endpointer.feed(probabilities[start : start + chunk])
    assert events == Endpointer(SETTINGS).feed(probabilities)
    assert [type(event) for event in events[:2]] == [Begin, End]
