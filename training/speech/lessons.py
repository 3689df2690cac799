"""What each step of adapting hears: clips by source, framed in quiet and disturbed; and patchwork of texts.

B clips, T feature frames, M mel bands.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from services.speech.model.encoder import subsampled
from services.speech.model.features import LogMel, normalise
from services.speech.resampling import resample
from services.speech.vocabulary import Vocabulary
from training.speech.augment import Chances, change_speed, disturb, mask_features
from training.speech.clips import SAMPLE_RATE, Clip, made_sentences, real_sentences, real_words
from training.speech.joining import join_words
from training.speech.patchwork import Patchwork
from training.speech.sentences import han, is_held_out, read_sentences, words

POOL_SECONDS = 400.0
FREQUENT_WORDS = 40_000
TUNE_SPEAKERS = ("spk30", "spk31", "spk32", "spk33")
"""Speakers of dsp20's train part that are kept to choose by."""


@dataclass(frozen=True)
class Recipe:
    """What is heard how often, the weights of the losses, and the learning rate."""

    made: float = 0.42
    real: float = 0.20
    dsp20: float = 0.24
    hsk: float = 0.14
    alone: float = 0.5
    """Share of words that are heard alone; the others stand in a row."""
    batch_seconds: float = 40.0
    smoothing: float = 0.1
    unspoken: float = 1.0
    unspoken_texts: int = 32
    words_share: float = 0.3
    """Share of unspoken texts that are words in a row."""
    hold: float = 1.0
    rate: float = 2e-4
    clip: float = 2.0
    chances: Chances = field(default_factory=lambda: Chances(noise=0.3, codec=0.05))

    @property
    def shares(self) -> dict[str, float]:
        """How often a clip of each source is drawn."""
        return {"made": self.made, "real": self.real, "dsp20": self.dsp20, "hsk": self.hsk}


@dataclass(frozen=True)
class Batch:
    """`features_BTM` is what the learner hears, `clean_BTM` the same undisturbed, as the teacher hears it."""

    features_BTM: torch.Tensor
    clean_BTM: torch.Tensor
    frames_B: torch.Tensor
    texts: list[str]
    held_B: torch.Tensor
    """True where the learner is held to what the original makes of it."""

    @property
    def mask_B11S(self) -> torch.Tensor:
        """Which encoder frames are real."""
        return _real(self.frames_B)


@dataclass(frozen=True)
class Unspoken:
    """Texts as patchwork."""

    features_BTM: torch.Tensor
    frames_B: torch.Tensor
    texts: list[str]

    @property
    def mask_B11S(self) -> torch.Tensor:
        """Which encoder frames are real."""
        return _real(self.frames_B)


class Texts:
    """Sentences, and words in a row, patched together as far as one voice has said all syllables."""

    def __init__(self, data: Path, vocabulary: Vocabulary, patchwork: Patchwork, recipe: Recipe):
        characters = {name for name in vocabulary.characters if len(name) == 1}
        texts = [han(text) for text in read_sentences(data, characters)]
        self._sentences = [text for text in texts if not is_held_out(text)]
        frequent = sorted(words(characters).items(), key=lambda item: -item[1])[:FREQUENT_WORDS]
        self._words = [word for word, _ in frequent]
        counts = np.sqrt([count for _, count in frequent])
        self._chances = counts / counts.sum()
        self._patchwork, self._recipe = patchwork, recipe

    def draw(self, rng: np.random.Generator) -> Unspoken:
        """One batch."""
        pairs: list[tuple[str, torch.Tensor]] = []
        for _ in range(self._recipe.unspoken_texts):
            text = self._text(rng)
            features_TM = self._patchwork.say(text, rng)
            if features_TM is not None:
                pairs.append((text, torch.from_numpy(mask_features(features_TM.numpy(), rng))))
        if not pairs:  # few clips, few voices: nothing could be said
            return Unspoken(torch.zeros(0, 0, 0), torch.zeros(0, dtype=torch.long), [])
        return Unspoken(
            nn.utils.rnn.pad_sequence([own for _, own in pairs], batch_first=True),
            torch.tensor([subsampled(len(own)) for _, own in pairs]),
            [text for text, _ in pairs],
        )

    def _text(self, rng: np.random.Generator) -> str:
        if rng.random() < self._recipe.words_share:
            return "".join(rng.choice(self._words, rng.integers(1, 6), p=self._chances))
        return self._sentences[rng.integers(len(self._sentences))]


class Draws:
    """Batches of utterances drawn by source, framed in quiet of any length, and disturbed."""

    def __init__(self, data: Path, made: Path, vocabulary: Vocabulary, log_mel: LogMel, recipe: Recipe):
        self._clips: dict[str, list[Clip]] = {
            "made": made_sentences(made, "train"),
            "real": real_sentences(data, "train"),
            "dsp20": [c for c in real_words(data, "dsp20") if c.voice not in TUNE_SPEAKERS],
            "hsk": [c for c in real_words(data, "cmn_hsk") if vocabulary.ids(c.text)],
        }
        self._log_mel, self._recipe = log_mel, recipe
        self._rate = log_mel.config.sample_rate

    @property
    def sentences(self) -> list[Clip]:
        """What patchwork is cut from."""
        return self._clips["made"] + self._clips["real"]

    def pool(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Clips of like length together, in any order."""
        clips: list[Clip] = []
        while sum(clip.seconds for clip in clips) < POOL_SECONDS:
            clips.append(self._draw(rng))
        groups: list[list[Clip]] = [[]]
        for clip in sorted(clips, key=lambda clip: clip.seconds):
            if groups[-1] and (len(groups[-1]) + 1) * clip.seconds > self._recipe.batch_seconds:
                groups.append([])
            groups[-1].append(clip)
        for place in rng.permutation(len(groups)):
            yield self._batch(groups[place], rng)

    def _draw(self, rng: np.random.Generator) -> Clip:
        shares = self._recipe.shares
        source = str(rng.choice(list(shares), p=list(shares.values())))
        clips = self._clips[source]
        if source in ("dsp20", "hsk") and rng.random() >= self._recipe.alone:
            return join_words(clips, rng)
        return clips[rng.integers(len(clips))]

    def _batch(self, clips: list[Clip], rng: np.random.Generator) -> Batch:
        pairs = [self._hear(clip, rng) for clip in clips]
        pad = nn.utils.rnn.pad_sequence
        return Batch(
            features_BTM=pad([heard for heard, _ in pairs], batch_first=True),
            clean_BTM=pad([clean for _, clean in pairs], batch_first=True),
            frames_B=torch.tensor([subsampled(len(heard)) for heard, _ in pairs]),
            texts=[clip.text for clip in clips],
            held_B=torch.tensor([clip.source in ("s0252", "others") for clip in clips]),
        )

    def _hear(self, clip: Clip, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        samples = change_speed(clip.samples.astype(np.float32) / 32_768, rng, self._recipe.chances.speed)
        samples = _framed(samples, rng)
        disturbed = disturb(samples, rng, self._recipe.chances).astype(np.float32)
        heard = normalise(self._levels(disturbed)).numpy()
        return torch.from_numpy(mask_features(heard, rng)), normalise(self._levels(samples))

    def _levels(self, samples: np.ndarray) -> torch.Tensor:
        levels_TM: torch.Tensor = self._log_mel(resample(torch.from_numpy(samples), SAMPLE_RATE, self._rate))
        return levels_TM


def _real(frames_B: torch.Tensor) -> torch.Tensor:
    return (torch.arange(int(frames_B.max())) < frames_B[:, None])[:, None, None]


def _framed(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The clip with faint noise before and after it, none to a second of each."""
    level = np.abs(samples).max() * 10 ** rng.uniform(-3.5, -2.0)
    pieces = [_quiet(rng, level), samples, _quiet(rng, level)]
    return np.concatenate(pieces).astype(np.float32)


def _quiet(rng: np.random.Generator, level: float) -> np.ndarray:
    return rng.standard_normal(int(rng.uniform(0, 1) * SAMPLE_RATE)) * level
