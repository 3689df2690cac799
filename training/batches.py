"""What is learned together in one step: photos, scenes, pairs, labels and dialogues, mixed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from services.llm.tokenizer import Tokenizer
from training.alignment import Labels, WordList
from training.collate import Batch, collate
from training.data.asides import with_aside
from training.data.dialogues import DialogueSource
from training.data.hearing import Hearing
from training.data.labels import ask_label, make_label, random_lines, read_label
from training.data.pairs import Known, ask_pair
from training.data.photos import list_photos
from training.data.questions import ask
from training.data.scene_english import ask_scene_in_english
from training.data.scene_questions import ask_scene
from training.data.turns import Turn
from training.samples import Sample, SampleBuilder
from training.vision.features import VIEWS, open_features, open_scenes

ENGLISH_SCENES = 0.15
WRITTEN_PHOTOS = 0.05
ASIDES = 0.08
POOL_STEPS = 8
PLAIN_VIEW = 0.3


@dataclass(frozen=True)
class Mix:
    """Conversations in a step, by what they are about."""

    photos: int = 12
    scenes: int = 14
    pairs: int = 4
    labels: int = 2
    dialogues: int = 4


@dataclass(frozen=True)
class Seen:
    """A picture: the map of the stem's frozen part, and what is known of it."""

    map: np.ndarray
    labels: Labels


Row = tuple[Sample, list[Seen]]


@dataclass(frozen=True)
class Step:
    """What is learned at once: P pictures with labels (see `Labels`), and the samples that show them."""

    maps: torch.Tensor
    at_P9W: torch.Tensor
    anywhere_PW: torch.Tensor
    batch: Batch

    def to(self, device: torch.device) -> "Step":
        """The same on another device."""
        return Step(**{name: value.to(device) for name, value in vars(self).items()})


class Batches:
    """Endless steps, mixed as `mix` says."""

    mix = Mix()

    def __init__(self, data: Path, features: Path, tokenizer: Tokenizer, image_tokens: int):
        self.photos = list_photos(data)
        self._train = [i for i, photo in enumerate(self.photos) if photo.split == "train"]
        self.features = open_features(features)
        self._scene_maps, self._scenes = open_scenes(features)
        self._dialogues = DialogueSource(data)
        self._builder = SampleBuilder(tokenizer, image_tokens, _hearing(tokenizer))
        self._rng = random.Random()
        self.words = WordList(self.photos)
        self._scene_labels = [self.words.scene_labels(scene) for scene in self._scenes]
        self._photo_labels = [self.words.photo_labels(photo) for photo in self.photos]

    def seed(self, seed: int) -> None:
        """Makes what comes next depend on `seed` alone."""
        self._rng.seed(seed)

    def __iter__(self) -> Iterator[Step]:
        while True:
            order = self._rng.sample(self._train, len(self._train))
            while len(order) >= (pool := POOL_STEPS * self.mix.photos):
                yield from self._pool(order[:pool])
                del order[:pool]

    def _pool(self, photos: list[int]) -> Iterator[Step]:
        """Several batches drawn together, rows of like length side by side: less padding."""
        draws = (
            (self._scene, self.mix.scenes),
            (self._pair, self.mix.pairs),
            (self._label, self.mix.labels),
            (self._dialogue, self.mix.dialogues),
        )
        rows = [self._photo(row) for row in photos]
        rows += [draw() for draw, count in draws for _ in range(POOL_STEPS * count)]
        rows.sort(key=lambda row: len(row[0].ids))
        size = len(rows) // POOL_STEPS
        for step in self._rng.sample(range(POOL_STEPS), POOL_STEPS):
            chosen = rows[step * size : (step + 1) * size]
            seen = [one for _, pictures in chosen for one in pictures]
            yield Step(
                torch.from_numpy(np.stack([one.map for one in seen])).float(),
                torch.from_numpy(np.stack([one.labels.at_9W for one in seen])),
                torch.from_numpy(np.stack([one.labels.anywhere_W for one in seen])),
                collate([sample for sample, _ in chosen]),
            )

    def _photo(self, row: int) -> Row:
        turns = self._talk(ask(self.photos[row], self._rng))
        written = random_lines(self._rng) if self._rng.random() < WRITTEN_PHOTOS else ()
        return self._builder.pictures(turns, self._rng, written), [self._view(row)]

    def _label(self) -> Row:
        """Its words come from the text reader; what else is seen hardly matters."""
        label = make_label(self._rng)
        lines = read_label(label, self._rng)
        turn = ask_label(label, lines, self._rng)
        return self._builder.pictures([turn], self._rng, lines), [self._view(self._rng.choice(self._train))]

    def _scene(self) -> Row:
        row = self._rng.randrange(len(self._scenes))
        asks = ask_scene_in_english if self._rng.random() < ENGLISH_SCENES else ask_scene
        turns = self._talk(asks(self._scenes[row], self._rng))
        return self._builder.pictures(turns, self._rng), [self._drawn(row)]

    def _pair(self) -> Row:
        if self._rng.random() < 0.5:
            rows = self._rng.sample(range(len(self._scenes)), 2)
            known, seen = [Known.of(self._scenes[r]) for r in rows], [self._drawn(r) for r in rows]
        else:
            rows = self._rng.sample(self._train, 2)
            known, seen = [Known.of(self.photos[r]) for r in rows], [self._view(r) for r in rows]
        return self._builder.pictures(ask_pair(known[0], known[1], self._rng), self._rng), seen

    def _dialogue(self) -> Row:
        return self._builder.dialogue(self._dialogues.draw(self._rng), self._rng), []

    def _talk(self, turns: list[Turn]) -> list[Turn]:
        if self._rng.random() > ASIDES:
            return turns
        return with_aside(turns, self._dialogues, self._rng)

    def _drawn(self, row: int) -> Seen:
        return Seen(self._scene_maps[row], self._scene_labels[row])

    def _view(self, row: int) -> Seen:
        plain = self.photos[row].kind == "solid" or self._rng.random() < PLAIN_VIEW
        view = 0 if plain else self._rng.randrange(1, VIEWS)
        return Seen(self.features[view][row], self._photo_labels[row])


def _hearing(tokenizer: Tokenizer) -> Hearing:
    return Hearing(tokenizer.decode([token_id]) for token_id in range(tokenizer.vocab_size))
