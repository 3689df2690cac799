"""What can be heard, and what is refused by which name."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from servicekit.errors import InvalidArgument
from services.speech.audio import AudioFormat, Encoding, read_clip
from tests.speech.files import encode, encode_with_ffmpeg, tone

FILE = AudioFormat()
S16 = AudioFormat(Encoding.PCM_S16LE, 16_000, 1)
F32 = AudioFormat(Encoding.PCM_F32LE, 16_000, 1)


def reason(data: bytes, layout: AudioFormat = FILE, max_seconds: float = 60.0) -> str:
    with pytest.raises(InvalidArgument) as refused:
        read_clip(data, layout, max_seconds=max_seconds)
    return refused.value.reason


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "FLOAT"),
        ("WAV", "ULAW"),
        ("FLAC", None),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", None),
    ],
)
@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_gives_its_own_samples(container: str, subtype: str | None, rate: int, channels: int) -> None:
    samples = tone(0.5, rate, channels)
    clip = read_clip(encode(samples, rate, container, subtype), FILE, max_seconds=60)
    assert clip.rate == rate
    assert clip.seconds == pytest.approx(0.5, abs=0.06)  # lossy formats pad
    middle = clip.samples[rate // 8 : rate // 4]
    assert np.abs(middle).max() == pytest.approx(np.abs(samples.mean(1)).max(), rel=0.1)


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("webm", "libopus", 48_000),
        ("mp4", "aac", 44_100),
        ("adts", "aac", 16_000),
        ("matroska", "pcm_f32le", 22_050),
    ],
)
def test_what_soundfile_cannot_read_is_read_all_the_same(container: str, codec: str, rate: int) -> None:
    clip = read_clip(encode_with_ffmpeg(tone(0.5, rate), rate, container, codec), FILE, max_seconds=60)
    assert clip.rate == rate
    assert clip.seconds == pytest.approx(0.5, abs=0.15)
    assert np.abs(clip.samples).max() == pytest.approx(0.2, rel=0.2)


@pytest.mark.parametrize("rate", [8_000, 11_025, 37_123, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_raw_audio_is_mixed_to_mono(rate: int, channels: int) -> None:
    samples = tone(0.2, rate, channels)
    as_float = AudioFormat(Encoding.PCM_F32LE, rate, channels)
    clip = read_clip(samples.astype("<f4").tobytes(), as_float, max_seconds=60)
    assert (clip.rate, len(clip.samples)) == (rate, len(samples))
    assert np.allclose(clip.samples, samples.mean(1), atol=1e-6)
    as_short = AudioFormat(Encoding.PCM_S16LE, rate, channels)
    shorts = (samples * 32767).astype("<i2").tobytes()
    assert np.allclose(read_clip(shorts, as_short, max_seconds=60).samples, samples.mean(1), atol=1e-4)


def test_clipped_samples_are_heard_as_they_are() -> None:
    loud = np.clip(tone() * 100, -1, 1)
    assert np.abs(read_clip(encode(loud, 16_000, "WAV"), FILE, max_seconds=60).samples).max() <= 1.0


def test_float_samples_beyond_full_scale_are_bounded() -> None:
    wild = np.full(16_000, 3e38, "<f4").tobytes()
    assert np.isfinite(read_clip(wild, F32, max_seconds=60).samples).all()


def test_bytes_that_are_no_audio_are_refused() -> None:
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    assert reason(b"") == "AUDIO_EMPTY"
    for data in (b"hello, this is a text", picture.getvalue(), bytes(1000), b"\xff" * 1000, b"RIFF", b"OggS"):
        assert reason(data) in ("AUDIO_UNREADABLE", "AUDIO_TRUNCATED")
    assert reason(b"#EXTM3U\nhttp://127.0.0.1/secret.wav") == "AUDIO_UNREADABLE"
    assert reason(b'{"role": "user"}') == "AUDIO_UNREADABLE"


def test_a_refusal_says_what_was_sent_instead() -> None:
    with pytest.raises(InvalidArgument, match="PDF document"):
        read_clip(b"%PDF-1.7 ...", FILE, max_seconds=60)


@pytest.mark.parametrize(
    ("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS")]
)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_file_that_ends_early_is_refused(container: str, subtype: str | None, share: float) -> None:
    data = encode(tone(2.0), 16_000, container, subtype)
    assert reason(data[: int(len(data) * share)]) in ("AUDIO_TRUNCATED", "AUDIO_UNREADABLE")


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_wav_that_was_streamed_without_knowing_its_length_is_heard(size: int) -> None:
    data = bytearray(encode(tone(), 16_000, "WAV", "PCM_16"))
    data[40:44] = size.to_bytes(4, "little")
    clip = read_clip(bytes(data), FILE, max_seconds=60)
    assert clip.seconds == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("rate", "channels"), [(0, 1), (7_999, 1), (96_001, 1), (16_000, 0), (16_000, 9)])
def test_a_layout_that_cannot_be_heard_is_refused(rate: int, channels: int) -> None:
    expected = "AUDIO_CHANNELS_UNSUPPORTED" if rate == 16_000 else "AUDIO_RATE_UNSUPPORTED"
    assert reason(bytes(32_000), AudioFormat(Encoding.PCM_S16LE, rate, channels)) == expected


def test_a_container_with_such_a_layout_is_refused_too() -> None:
    assert reason(encode(tone(0.5, 4_000), 4_000, "WAV")) == "AUDIO_RATE_UNSUPPORTED"
    assert reason(encode(tone(0.5, 16_000, 9), 16_000, "WAV")) == "AUDIO_CHANNELS_UNSUPPORTED"


def test_half_a_sample_is_refused() -> None:
    assert reason(bytes(32_001), S16) == "AUDIO_TRUNCATED"


def test_a_clip_too_short_to_hold_a_syllable_is_refused() -> None:
    assert reason(bytes(2 * 1_599), S16) == "AUDIO_TOO_SHORT"
    assert reason(encode(tone(0.05), 16_000, "WAV")) == "AUDIO_TOO_SHORT"
    assert read_clip(bytes(2 * 1_600), S16, max_seconds=60).seconds == 0.1


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(broken: float) -> None:
    samples = tone()
    samples[100] = broken
    assert reason(samples.astype("<f4").tobytes(), F32) == "AUDIO_NOT_FINITE"
    assert reason(encode(samples, 16_000, "WAV", "FLOAT")) == "AUDIO_NOT_FINITE"


def test_a_clip_longer_than_allowed_is_refused() -> None:
    assert reason(bytes(2 * 16_001), S16, max_seconds=1) == "AUDIO_TOO_LONG"
    assert reason(encode(tone(2.0), 16_000, "FLAC"), max_seconds=1) == "AUDIO_TOO_LONG"
    assert reason(encode(tone(2.0), 16_000, "OGG", "OPUS"), max_seconds=1) == "AUDIO_TOO_LONG"


@pytest.mark.parametrize("container", ["FLAC", "OGG"])
def test_a_small_file_that_unpacks_to_hours_is_given_up_while_it_is_read(container: str) -> None:
    bomb = encode(np.zeros(8_000 * 600, np.int16), 8_000, container)
    assert len(bomb) < 1_000_000
    tracemalloc.start()
    assert reason(bomb, max_seconds=10) == "AUDIO_TOO_LONG"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000
