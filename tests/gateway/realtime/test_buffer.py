"""What a turn is cut from: samples by their place in the stream."""

import io
import wave

from gateway.realtime.buffer import SampleBuffer, to_wav


def test_the_file_is_the_one_that_the_standard_library_writes() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as clip:
        clip.setnchannels(1)
        clip.setsampwidth(2)
        clip.setframerate(24_000)
        clip.writeframes(b"samples!")
    assert to_wav(b"samples!", 24_000) == file.getvalue()
    assert len(to_wav(b"", 8000)) == 44


def test_a_stretch_is_found_by_its_place_after_others_were_forgotten() -> None:
    buffer = SampleBuffer(10, max_s=1.0)
    for place in range(10):
        buffer.append(place.to_bytes(2, "little"))
    buffer.forget(3)
    clip = buffer.clip(0.4, 0.6)
    assert clip is not None
    assert clip[44:] == b"\x04\x00\x05\x00"
    assert buffer.clip(0.2, 0.6) is None
    assert buffer.end == 10


def test_the_oldest_samples_make_room() -> None:
    buffer = SampleBuffer(10, max_s=0.5)
    assert buffer.fits(bytes(10))
    assert not buffer.fits(bytes(12))
    for _ in range(4):
        buffer.append(bytes(6))
    assert (buffer.end, buffer.clip(0.6, 1.2)) == (12, None)
    assert buffer.clip(0.7, 1.2) == to_wav(bytes(10), 10)
