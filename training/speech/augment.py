"""How a clip may reach a microphone: speed, room, noise, a narrow line, a coarse codec, another level."""

from dataclasses import dataclass

import numpy as np

SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class Chances:
    """How often each change happens."""

    speed: float = 0.6
    room: float = 0.25
    noise: float = 0.4
    band: float = 0.2
    codec: float = 0.1


def change_speed(samples: np.ndarray, rng: np.random.Generator, chance: float) -> np.ndarray:
    """Faster and higher, or slower and lower: float32 in, float32 out, of another length."""
    if rng.random() >= chance:
        return samples
    factor = rng.uniform(0.88, 1.12)
    places = np.arange(0, len(samples) - 1, factor, dtype=np.float64)
    return np.interp(places, np.arange(len(samples)), samples).astype(np.float32)


def disturb(samples: np.ndarray, rng: np.random.Generator, chances: Chances) -> np.ndarray:
    """Everything that keeps the length. float32 [samples] in -1..1, both ways."""
    if rng.random() < chances.room:
        samples = add_room(samples, rng)
    if rng.random() < chances.noise:
        samples = add_noise(samples, rng)
    if rng.random() < chances.band:
        samples = narrow_band(samples, rng)
    if rng.random() < chances.codec:
        samples = mu_law(samples)
    return samples * np.float32(10 ** rng.uniform(-1.0, 0.2))


def add_room(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Convolves with a decaying tail of noise, 0.1 to 0.5 s to -60 dB, after the direct sound."""
    decay = rng.uniform(0.1, 0.5)
    length = int(decay * SAMPLE_RATE)
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail *= rng.uniform(0.1, 0.5) / np.linalg.norm(tail)
    tail[0] = 1
    size = 1 << (len(samples) + length - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)
    return wet[: len(samples)].astype(np.float32)


def add_noise(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise between white and brown at 8 to 35 dB below the speech."""
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)))
    slope = np.arange(1, len(spectrum) + 1, dtype=np.float64) ** -rng.uniform(0, 1)
    noise = np.fft.irfft(spectrum * slope, len(samples))
    loudness = np.sqrt(np.mean(samples**2)) * 10 ** (-rng.uniform(8, 35) / 20)
    return (samples + noise * (loudness / (np.sqrt(np.mean(noise**2)) + 1e-9))).astype(np.float32)


def narrow_band(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A telephone or a cheap microphone: what lies outside the band is softened by 30 dB."""
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    outside = (hertz < rng.uniform(50, 300)) | (hertz > rng.uniform(3_400, 7_500))
    spectrum[outside] *= 0.03
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def mu_law(samples: np.ndarray) -> np.ndarray:
    """To eight bits and back (G.711)."""
    loud = np.sign(samples) * np.log1p(255 * np.minimum(np.abs(samples), 1)) / np.log(256)
    coarse = np.round(loud * 127) / 127
    return (np.sign(coarse) * np.expm1(np.abs(coarse) * np.log(256)) / 255).astype(np.float32)


def mask_features(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """SpecAugment on [frames, mels]: up to two bands of mels and short spans of time fall to the mean (0)."""
    masked = frames.copy()
    length, mels = masked.shape
    for _ in range(rng.integers(0, 3)):
        width = rng.integers(1, 7)
        start = rng.integers(0, mels - width)
        masked[:, start : start + width] = 0
    for _ in range(rng.integers(0, 1 + min(3, length // 100))):
        width = rng.integers(1, 21)
        start = rng.integers(0, max(1, length - width))
        masked[start : start + width] = 0
    return masked
