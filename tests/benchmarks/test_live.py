"""When the characters of an utterance appear."""

import pytest

from autoglm.speech.v1 import speech_pb2
from benchmarks.live import Delays


def result(text: str, *ends_s: float, utterance: int = 0) -> speech_pb2.StreamTranscribeResult:
    message = speech_pb2.StreamTranscribeResult(utterance_index=utterance, text=text)
    for end_s in ends_s:
        message.segment.characters.add().end_offset.FromMilliseconds(round(end_s * 1000))
    return message


def test_a_character_appears_with_the_first_text_that_is_long_enough() -> None:
    delays = Delays()
    assert delays.note(result("今天"), 1.0) == []
    assert delays.note(result("今"), 1.2) == []
    assert delays.note(result("今天天"), 1.5) == []
    assert delays.note(result("今天天气", 0.5, 0.8, 1.1, 1.3), 2.0) == pytest.approx([0.5, 0.2, 0.4, 0.7])


def test_each_utterance_has_characters_of_its_own() -> None:
    delays = Delays()
    delays.note(result("今天"), 1.0)
    assert delays.note(result("好", 3.0, utterance=1), 3.5) == pytest.approx([0.5])
