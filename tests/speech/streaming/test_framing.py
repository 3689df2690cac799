"""Bytes cut anywhere become the same samples, and the tape gives back what was recorded."""

import random

import numpy as np
import pytest

from servicekit.errors import InvalidArgument
from services.speech.audio import AudioFormat, Encoding
from services.speech.streaming.framing import Framer, Tape


@pytest.mark.parametrize("encoding", [Encoding.PCM_S16LE, Encoding.PCM_F32LE])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_the_cut_does_not_matter(encoding: Encoding, channels: int, seed: int) -> None:
    layout = AudioFormat(encoding, 16_000, channels)
    wave = np.random.default_rng(seed).uniform(-0.9, 0.9, (500, channels))
    data = (wave * (32_767 if encoding is Encoding.PCM_S16LE else 1)).astype(encoding.value).tobytes()
    framer, draw, found, place = Framer(layout), random.Random(seed), [], 0
    while place < len(data):
        width = draw.randint(0, 40)
        found.append(framer.feed(data[place : place + width]))
        place += width
    framer.close()
    assert np.array_equal(np.concatenate(found), Framer(layout).feed(data))


def test_half_a_sample_at_the_end_is_refused() -> None:
    framer = Framer(AudioFormat(Encoding.PCM_S16LE, 16_000))
    assert len(framer.feed(b"123")) == 1
    with pytest.raises(InvalidArgument, match="middle of a sample"):
        framer.close()


def test_the_tape_keeps_places_when_it_forgets() -> None:
    tape = Tape()
    for start in range(0, 100, 10):
        tape.record(np.arange(start, start + 10, dtype=np.float32))
        tape.forget(start - 15)
    assert tape.end == 100
    assert tape.cut(80, 90).tolist() == list(range(80, 90))
    assert tape.cut(0, 77).tolist() == [75, 76]
    tape.forget(1_000)
    assert (tape.end, len(tape.cut(0, 1_000))) == (100, 0)
