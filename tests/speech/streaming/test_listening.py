"""What is done with a stream, and when, depends on its samples alone."""

import re
from pathlib import Path

import numpy as np
import pytest

from services.speech.audio import AudioFormat, read_clip
from services.speech.endpointing import EndpointSettings
from services.speech.streaming.listening import DRAFT_STEP, FIRST_DRAFT, Begin, Draft, End, Event, Listener
from services.speech.voice import WINDOW_S, VoiceNetwork

RATE = 16_000
SETTINGS = EndpointSettings(WINDOW_S, longest_s=6.0)
CLIP = Path(__file__).parents[1] / "clips" / "apple.opus"


@pytest.fixture(scope="module")
def spoken_twice() -> np.ndarray:
    """Five seconds of speech, a second of silence, and the speech again, louder, without its last sample."""
    voice = read_clip(CLIP.read_bytes(), AudioFormat(), max_seconds=60).samples
    return np.concatenate([voice, np.zeros(RATE, np.float32), 1.5 * voice])[:-1]


@pytest.fixture(scope="module")
def events(spoken_twice: np.ndarray, voices: VoiceNetwork) -> list[Event]:
    listener = Listener(RATE, voices, SETTINGS)
    return [*listener.feed(spoken_twice), *listener.flush()]


def test_each_utterance_begins_is_drafted_and_ends(events: list[Event]) -> None:
    kinds = "".join(type(event).__name__[0] for event in events)
    assert re.fullmatch(r"(BD+E){2,}", kinds)


def test_drafts_grow_from_the_beginning_in_steps(events: list[Event]) -> None:
    window = Listener(RATE, VoiceNetwork(), SETTINGS).window
    drafts = [event for event in events if isinstance(event, Draft)]
    lengths = [(draft.end - draft.first) // window for draft in drafts if draft.first == drafts[0].first]
    assert lengths == [FIRST_DRAFT, *range(DRAFT_STEP, DRAFT_STEP * len(lengths), DRAFT_STEP)]
    assert len(lengths) >= 3


def test_what_may_still_be_cut_off_binds_nobody(events: list[Event]) -> None:
    for draft in events:
        if isinstance(draft, Draft):
            assert draft.binding == (draft.end - draft.first <= 4.0 * RATE)


def test_nothing_reaches_beyond_the_stream(events: list[Event], spoken_twice: np.ndarray) -> None:
    assert max(event.end for event in events if not isinstance(event, Begin)) <= len(spoken_twice)
    assert isinstance(events[-1], End)


@pytest.mark.parametrize("width", [1_601, 16_000])
def test_the_cut_into_pieces_does_not_matter(
    events: list[Event], spoken_twice: np.ndarray, voices: VoiceNetwork, width: int
) -> None:
    listener, found = Listener(RATE, voices, SETTINGS), []
    for start in range(0, len(spoken_twice), width):
        kept_from = listener.kept_from
        happened = listener.feed(spoken_twice[start : start + width])
        assert all(event.first >= kept_from for event in happened)
        found += happened
    assert [*found, *listener.flush()] == events


def test_silence_is_nothing_to_do(voices: VoiceNetwork) -> None:
    listener = Listener(RATE, voices, SETTINGS)
    assert [*listener.feed(np.zeros(5 * RATE, np.float32)), *listener.flush()] == []
    assert listener.kept_from > 3 * RATE
