"""What each training step hears: clips drawn by source, changed, measured, and laid side by side.

B clips, T feature frames, S encoder frames, M mel bands, N characters.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from services.speech.model.config import FeatureConfig
from services.speech.model.encoder import subsampled
from services.speech.model.features import LogMel, normalise
from services.speech.model.running import RunningLevels
from services.speech.resampling import resample
from services.speech.vocabulary import Vocabulary
from training.speech.augment import Chances, change_speed, disturb, mask_features
from training.speech.clips import SAMPLE_RATE, Clip, made_sentences, real_sentences, real_words
from training.speech.joining import SyllableVoice, join_words
from training.speech.sentences import han, is_held_out, read_sentences, words

SHARES = {"real": 0.30, "made": 0.48, "hsk": 0.07, "dsp20": 0.08, "syllables": 0.07}
FREQUENT_WORDS = 40_000
POOL_SECONDS = 240.0
BATCH_SECONDS = 30.0
LONGEST_SECONDS = 13.0
FULL_SHARE = 0.35
"""Batches heard whole: without chunks, and normalised over the clip."""


@dataclass(frozen=True)
class Batch:
    """`features_BTM` is what the learner hears, `clean_BTM` the undisturbed clip as the teacher hears it."""

    features_BTM: torch.Tensor
    clean_BTM: torch.Tensor
    frames_B: torch.Tensor
    """Encoder frames of each clip."""
    texts: list[str]
    real_B: torch.Tensor
    """True where the teacher can be trusted: recorded sentences."""
    whole: bool

    @property
    def mask_B11S(self) -> torch.Tensor:
        """Which encoder frames are real."""
        return (torch.arange(int(self.frames_B.max())) < self.frames_B[:, None])[:, None, None]


@dataclass
class Sources:
    """Every clip to train on. Made ones are read again now and then, as more are spoken."""

    data: Path
    made_folder: Path
    vocabulary: Vocabulary
    made: list[Clip] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.real = real_sentences(self.data, "train")
        self.hsk = [clip for clip in real_words(self.data, "cmn_hsk") if self.vocabulary.ids(clip.text)]
        self.dsp20 = real_words(self.data, "dsp20")
        self.syllables = SyllableVoice(real_words(self.data, "cmn_syllables"))
        characters = {name for name in self.vocabulary.characters if len(name) == 1}
        sentences = read_sentences(self.data, characters)
        self.texts = [han(text) for text in sentences if not is_held_out(text)]
        self.sayable = [text for text in self.texts if self.syllables.can_say(text)]
        frequent = sorted(words(characters).items(), key=lambda item: -item[1])[:FREQUENT_WORDS]
        self.words = [word for word, _ in frequent]
        counts = np.sqrt([count for _, count in frequent])
        self._word_chances = counts / counts.sum()
        self.sayable_words = [word for word in self.words if self.syllables.can_say(word)]
        self.refresh()

    def refresh(self) -> None:
        """Takes in what has been spoken since."""
        self.made = made_sentences(self.made_folder, "train")

    def draw(self, rng: np.random.Generator) -> Clip:
        """One utterance."""
        source = rng.choice(list(SHARES), p=list(SHARES.values()))
        if source == "syllables":
            return self.syllables.say(self._sayable_text(rng), rng)
        clips: list[Clip] = getattr(self, source)
        if source in ("hsk", "dsp20"):
            return join_words(clips, rng)
        return clips[rng.integers(len(clips))]

    def draw_text(self, rng: np.random.Generator) -> str:
        """A sentence, or words in a row, for which there need be no recording."""
        if rng.random() < 0.5:
            return self.texts[rng.integers(len(self.texts))]
        return "".join(rng.choice(self.words, rng.integers(2, 7), p=self._word_chances))

    def _sayable_text(self, rng: np.random.Generator) -> str:
        while rng.random() < 0.8:
            text = "".join(rng.choice(self.sayable_words, rng.integers(2, 5)))
            if self.syllables.can_say(text):  # readings may change where words meet
                return text
        return self.sayable[rng.integers(len(self.sayable))]


class Ear:
    """Clip to features, clean and disturbed."""

    def __init__(self, config: FeatureConfig, running: RunningLevels, chances: Chances) -> None:
        self._log_mel = LogMel(config)
        self._rate = config.sample_rate
        self._running = running
        self._chances = chances

    def levels(self, samples: np.ndarray) -> torch.Tensor:
        """float32 samples at 16 kHz to dB [T, M]."""
        return self._log_mel(resample(torch.from_numpy(samples), SAMPLE_RATE, self._rate))

    def hear(self, clip: Clip, whole: bool, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """What the learner hears, and what the teacher hears: normalised features [T, M] of equal length."""
        samples = clip.samples.astype(np.float32) / 32_768
        samples += rng.standard_normal(len(samples)).astype(np.float32) * 1e-4
        samples = change_speed(samples, rng, self._chances.speed)
        clean = normalise(self.levels(samples))
        disturbed = self.levels(disturb(samples, rng, self._chances).astype(np.float32))
        heard = normalise(disturbed) if whole else self._running.normalise(disturbed)[0]
        return torch.from_numpy(mask_features(heard.numpy(), rng)), clean


def batches(sources: Sources, ear: Ear, rng: np.random.Generator) -> Iterator[Batch]:
    """A pool's worth of batches, clips of like length together."""
    whole_of: dict[bool, list[Clip]] = {True: [], False: []}
    seconds = 0.0
    while seconds < POOL_SECONDS:
        clip = sources.draw(rng)
        if clip.seconds <= LONGEST_SECONDS:
            whole_of[bool(rng.random() < FULL_SHARE)].append(clip)
            seconds += clip.seconds
    groups: list[tuple[bool, list[Clip]]] = []
    for whole, clips in whole_of.items():
        group: list[Clip] = []
        for clip in sorted(clips, key=lambda clip: clip.seconds):
            if (len(group) + 1) * clip.seconds > BATCH_SECONDS and group:
                groups.append((whole, group))
                group = []
            group.append(clip)
        groups.append((whole, group))
    rng.shuffle(groups)
    for whole, group in groups:
        if group:
            yield _batch(group, whole, ear, rng)


def _batch(clips: list[Clip], whole: bool, ear: Ear, rng: np.random.Generator) -> Batch:
    pairs = [ear.hear(clip, whole, rng) for clip in clips]
    pad = torch.nn.utils.rnn.pad_sequence
    return Batch(
        features_BTM=pad([heard for heard, _ in pairs], batch_first=True),
        clean_BTM=pad([clean for _, clean in pairs], batch_first=True),
        frames_B=torch.tensor([subsampled(len(heard)) for heard, _ in pairs]),
        texts=[clip.text for clip in clips],
        real_B=torch.tensor([clip.source in ("s0252", "others") for clip in clips]),
        whole=whole,
    )
