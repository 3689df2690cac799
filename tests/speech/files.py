"""Audio files made on the spot."""

import io
from typing import cast

import av
import numpy as np
import soundfile
from av.audio.stream import AudioStream

BLOCK = 65_536


def tone(seconds: float = 1.0, rate: int = 16_000, channels: int = 1) -> np.ndarray:
    """A sine, louder in later channels: float32 [frames, channels]."""
    wave = np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return np.outer(wave, np.linspace(0.2, 0.4, channels)).astype(np.float32)


def encode(samples: np.ndarray, rate: int, container: str, subtype: str | None = None) -> bytes:
    """A file as soundfile writes it."""
    file = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(file, "w", rate, channels, subtype, format=container) as output:
        for start in range(0, len(samples), BLOCK):  # the Vorbis encoder overruns its stack with much at once
            output.write(samples[start : start + BLOCK])
    return file.getvalue()


def encode_with_ffmpeg(samples: np.ndarray, rate: int, container: str, codec: str) -> bytes:
    """A mono file as FFmpeg writes it."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = cast(AudioStream, output.add_stream(codec, rate=rate))
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(samples.T.copy(), format="fltp", layout="mono")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    return file.getvalue()
