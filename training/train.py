"""The training loop: photos, scenes, speech and dialogues together, in stages, within a budget of minutes.

The stem is frozen, then its last two stages move too, then it is frozen again while the rest settles. A
checkpoint holds everything that the next run needs to go on; a run that is stopped loses at most
`SAVE_SECONDS`.
"""

import copy
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from services.llm.model.config import DecoderConfig
from services.llm.tokenizer import END, OBSERVATION, USER, Tokenizer
from services.vision.model.native import VisionConfig
from training.data.dialogues import DialogueSource
from training.data.hearing import Hearing
from training.data.labels import ask_label, make_label, random_lines, read_label
from training.data.pairs import Known, ask_pair
from training.data.photos import list_photos
from training.data.questions import ask
from training.data.scene_english import ask_scene_in_english
from training.data.scene_questions import ask_scene
from training.model import JointModel
from training.samples import Batch, Sample, SampleBuilder, collate
from training.self_critical import SelfCritic
from training.start import start_from
from training.vision.features import FROZEN_STAGES, VIEWS, open_features, open_scenes

PHOTOS_PER_STEP = 12
SCENES_PER_STEP = 8
PAIRS_PER_STEP = 2
LABELS_PER_STEP = 3
DIALOGUES_PER_STEP = 5
ENGLISH_SCENES = 0.15
WRITTEN_PHOTOS = 0.05
POOL_STEPS = 8
PLAIN_VIEW = 0.3
WARM_UP_STEPS = 150
EMA_DECAY = 0.998
CLIP_NORM = 1.0
WEIGHT_DECAY = 0.05
SAVE_SECONDS = 120


@dataclass(frozen=True)
class StageRecipe:
    """What moves, and how fast."""

    share: float  # of the budget
    learning_rate: float
    head_rate: float  # the ImageNet 1x1 convolution
    stem_rate: float  # the stem's last stages; 0 keeps them frozen
    dropout: float
    critic: float = 0.0  # weight of the self-critical loss; 0 leaves it out


STAGES = (
    StageRecipe(0.25, 1e-3, 1e-4, 0.0, 0.0),
    StageRecipe(0.4, 8e-4, 1e-4, 2e-4, 0.1),
    StageRecipe(0.1, 3e-4, 3e-5, 0.0, 0.1),
    StageRecipe(0.25, 1e-4, 1e-5, 0.0, 0.1, critic=2.0),
)
CONTINUED = (
    StageRecipe(0.3, 7e-4, 1e-4, 0.0, 0.05),
    StageRecipe(0.32, 5e-4, 1e-4, 1.5e-4, 0.1),
    StageRecipe(0.1, 2e-4, 3e-5, 0.0, 0.1),
    StageRecipe(0.28, 1e-4, 1e-5, 0.0, 0.1, critic=2.0),
)


def text_config(tokenizer: Tokenizer) -> DecoderConfig:
    """The bundled backbone."""
    return DecoderConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=2048,
        eos_token_ids=tuple(tokenizer.special(name) for name in (END, USER, OBSERVATION)),
    )


Row = tuple[Sample, list[np.ndarray]]


class Batches:
    """Endless mixed batches: (maps of the stem's frozen part, padded samples)."""

    def __init__(self, data: Path, features: Path, tokenizer: Tokenizer, image_tokens: int):
        self.photos = list_photos(data)
        self._train = [i for i, photo in enumerate(self.photos) if photo.split == "train"]
        self.features = open_features(features)
        self._scene_maps, self._scenes = open_scenes(features)
        self._dialogues = DialogueSource(data)
        self._builder = SampleBuilder(tokenizer, image_tokens, _hearing(tokenizer))
        self._rng = random.Random()

    def seed(self, seed: int) -> None:
        """Makes what comes next depend on `seed` alone."""
        self._rng.seed(seed)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, Batch]]:
        while True:
            order = self._rng.sample(self._train, len(self._train))
            pool = POOL_STEPS * PHOTOS_PER_STEP
            for start in range(0, len(order) - pool, pool):
                yield from self._pool(order[start : start + pool])

    def _pool(self, photos: list[int]) -> Iterator[tuple[torch.Tensor, Batch]]:
        """Several batches drawn together, rows of like length side by side: less padding."""
        kinds = [
            [self._photo(row) for row in photos],
            [self._scene() for _ in range(POOL_STEPS * SCENES_PER_STEP)],
            [self._pair() for _ in range(POOL_STEPS * PAIRS_PER_STEP)],
            [self._label() for _ in range(POOL_STEPS * LABELS_PER_STEP)],
            [self._dialogue() for _ in range(POOL_STEPS * DIALOGUES_PER_STEP)],
        ]
        for rows in kinds:
            rows.sort(key=lambda row: len(row[0].ids))
        for step in self._rng.sample(range(POOL_STEPS), POOL_STEPS):
            chosen = [row for rows in kinds for row in _slice(rows, step)]
            maps = np.stack([seen for _, pictures in chosen for seen in pictures])
            yield torch.from_numpy(maps).float(), collate([sample for sample, _ in chosen])

    def _photo(self, row: int) -> Row:
        turns = ask(self.photos[row], self._rng)
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
        turns = asks(self._scenes[row], self._rng)
        return self._builder.pictures(turns, self._rng), [self._scene_maps[row]]

    def _pair(self) -> Row:
        if self._rng.random() < 0.5:
            rows = self._rng.sample(range(len(self._scenes)), 2)
            known, maps = [Known.of(self._scenes[r]) for r in rows], [self._scene_maps[r] for r in rows]
        else:
            rows = self._rng.sample(self._train, 2)
            known, maps = [Known.of(self.photos[r]) for r in rows], [self._view(r) for r in rows]
        return self._builder.pictures(ask_pair(known[0], known[1], self._rng), self._rng), maps

    def _dialogue(self) -> Row:
        return self._builder.dialogue(self._dialogues.draw(self._rng), self._rng), []

    def _view(self, row: int) -> np.ndarray:
        plain = self.photos[row].kind == "solid" or self._rng.random() < PLAIN_VIEW
        return self.features[0 if plain else self._rng.randrange(1, VIEWS)][row]


def _hearing(tokenizer: Tokenizer) -> Hearing:
    return Hearing(tokenizer.decode([token_id]) for token_id in range(tokenizer.vocab_size))


def _slice(rows: list[Row], step: int) -> list[Row]:
    size = len(rows) // POOL_STEPS
    return rows[step * size : (step + 1) * size]


class Trainer:
    """One model, its average, and where it stands in the recipe."""

    def __init__(
        self,
        model: JointModel,
        checkpoint: Path,
        minutes: float,
        stages: Sequence[StageRecipe] = STAGES,
        critic: SelfCritic | None = None,
    ):
        self.model, self.stages, self.critic = model, stages, critic
        self._to_judge = iter(critic) if critic else None
        self.device = next(model.parameters()).device
        self.average = copy.deepcopy(model).requires_grad_(False)
        self.checkpoint = checkpoint
        self.budget_s = minutes * 60
        self.stage = 0
        self.spent_s = 0.0  # in this stage
        self.step = 0  # in this stage
        self.reward = 0.0  # of what the critic's captions score, a running mean
        self.optimizer = self._optimizer()

    def run(self, batches: Batches) -> None:
        """Trains until the budget is spent."""
        progress, saved = tqdm(desc="training", unit="step", mininterval=10), time.monotonic()
        last, loss_average = time.thread_time(), 0.0
        for maps, batch in batches:
            loss = self.learn(maps.to(self.device), batch.to(self.device))
            loss_average += (loss - loss_average) * max(0.02, 1 / self.step)
            # Not the clock on the wall: a busy machine must not cut the training short.
            now = time.thread_time()
            self.spent_s, last = self.spent_s + now - last, now
            progress.update()
            progress.set_postfix(
                stage=self.stage + 1, loss=f"{loss_average:.3f}", reward=f"{self.reward:.3f}", refresh=False
            )
            if self._progress() >= 1:
                if self.stage + 1 == len(self.stages):
                    break
                self.advance()
            if time.monotonic() - saved > SAVE_SECONDS:
                self.save()
                saved = time.monotonic()
        self.save()

    def advance(self) -> None:
        """Enters the next stage."""
        self.stage, self.spent_s, self.step = self.stage + 1, 0.0, 0
        self.optimizer = self._optimizer()

    def save(self) -> None:
        """Writes the checkpoint in one move."""
        partial = self.checkpoint.with_suffix(".partial")
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "stage": self.stage,
            "spent_s": self.spent_s,
            "step": self.step,
        }
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def resume(self) -> None:
        """Goes on from the checkpoint."""
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.stage, self.spent_s, self.step = state["stage"], state["spent_s"], state["step"]
        self.optimizer = self._optimizer()
        self.optimizer.load_state_dict(state["optimizer"])

    @property
    def recipe(self) -> StageRecipe:
        return self.stages[self.stage]

    def _progress(self) -> float:
        return self.spent_s / (self.budget_s * self.recipe.share)

    def learn(self, maps: torch.Tensor, batch: Batch) -> float:
        """One step; the loss."""
        model, recipe = self.model.train(), self.recipe
        factor = (
            min((self.step + 1) / WARM_UP_STEPS, 1.0)
            * 0.5
            * (1 + math.cos(math.pi * min(self._progress(), 1)))
        )
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * max(factor, 0.02)
        with torch.set_grad_enabled(recipe.stem_rate > 0):
            maps = model.vision.stem.resume(maps.contiguous(memory_format=torch.channels_last), FROZEN_STAGES)
        loss = model(model.vision.embed_map(maps), batch, recipe.dropout)
        if recipe.critic and self.critic and self._to_judge:
            loss = loss + recipe.critic * self._judge(self.critic, *next(self._to_judge))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], CLIP_NORM)
        self.optimizer.step()
        self.step += 1
        decay = min(EMA_DECAY, (1 + self.step + 1000 * self.stage) / (10 + self.step + 1000 * self.stage))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(model.parameters()), 1 - decay)
        return float(loss.detach())

    def _judge(self, critic: SelfCritic, maps: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        with torch.no_grad():
            seen = maps.to(self.device).contiguous(memory_format=torch.channels_last)
            seen = self.model.vision.stem.resume(seen, FROZEN_STAGES)
        loss, reward = critic.loss(self.model, self.model.vision.embed_map(seen), rows)
        self.reward += 0.02 * (reward - self.reward)
        return loss

    def _optimizer(self) -> torch.optim.AdamW:
        model, recipe = self.model, self.recipe
        head = list(model.vision.head.parameters())
        stem = list(model.vision.stem.stages[FROZEN_STAGES:].parameters()) if recipe.stem_rate else []
        special = {id(p) for p in head} | {id(p) for p in model.vision.stem.parameters()}
        others = [p for p in model.parameters() if id(p) not in special]
        groups = [
            {
                "params": [p for p in others if p.ndim > 1],
                "rate": recipe.learning_rate,
                "weight_decay": WEIGHT_DECAY,
            },
            {"params": [p for p in others if p.ndim <= 1], "rate": recipe.learning_rate, "weight_decay": 0.0},
            {"params": head, "rate": recipe.head_rate, "weight_decay": 0.0},
            {"params": stem, "rate": recipe.stem_rate, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            [g for g in groups if g["params"]], lr=recipe.learning_rate, betas=(0.9, 0.98)
        )


def train(data: Path, work: Path, minutes: float, seed: int, start: Path | None = None) -> None:
    """Trains from scratch, from the bundle `start`, or goes on from `work/checkpoint.pt`.

    On a GPU when there is one.
    """
    torch.manual_seed(seed)
    tokenizer = Tokenizer(work / "tokenizer.json")
    model = JointModel(VisionConfig(), text_config(tokenizer))
    model.initialise()
    if start:
        start_from(model, tokenizer, start)
    model.vision.stem.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    tokens = model.vision.config.tokens
    batches = Batches(data, work / "features", tokenizer, tokens)
    critic = SelfCritic(batches.photos, batches.features, tokenizer, tokens, seed)
    trainer = Trainer(model, work / "checkpoint.pt", minutes, CONTINUED if start else STAGES, critic)
    if trainer.checkpoint.exists():
        trainer.resume()
    batches.seed(seed + trainer.step)
    trainer.run(batches)
