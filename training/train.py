"""The training loop: photos, scenes, speech and dialogues together, in stages, within a budget of minutes.

A checkpoint holds everything that the next run needs to go on; a run that is stopped loses at most
`SAVE_SECONDS`.
"""

import copy
import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from services.llm.model.config import DecoderConfig
from services.llm.tokenizer import END, OBSERVATION, USER, Tokenizer
from services.vision.model.native import VisionConfig
from training.alignment import Aligner
from training.batches import Batches, Step
from training.model import JointModel
from training.precision import multiplies_bfloat16
from training.self_critical import SelfCritic
from training.stages import WHOLE, Stage
from training.start import start_from
from training.vision.features import FROZEN_STAGES

WARM_UP_STEPS = 150
EMA_DECAY = 0.998
CLIP_NORM = 1.0
WEIGHT_DECAY = 0.05
ALIGNMENT = 0.3
SAVE_SECONDS = 120


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


class Trainer:
    """One model, its average, and where it stands in the recipe."""

    def __init__(
        self,
        model: JointModel,
        checkpoint: Path,
        minutes: float,
        stages: Sequence[Stage] = WHOLE,
        aligner: Aligner | None = None,
        critic: SelfCritic | None = None,
    ):
        self.model, self.stages, self.aligner, self.critic = model, stages, aligner, critic
        self._to_judge = iter(critic) if critic else None
        self.device = next(model.parameters()).device
        self.low_precision = multiplies_bfloat16(self.device)
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
        batches.mix = self.current.mix
        progress, saved = tqdm(desc="training", unit="step", mininterval=10), time.monotonic()
        last, loss_average = time.thread_time(), 0.0
        for step in batches:
            loss = self.learn(step.to(self.device))
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
                batches.mix = self.current.mix
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
            "aligner": self.aligner.state_dict() if self.aligner else {},
            "shares": [stage.share for stage in self.stages],
            "stage": self.stage,
            "spent_s": self.spent_s,
            "step": self.step,
        }
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def resume(self) -> None:
        """Goes on from the checkpoint; ValueError where that was made by another recipe."""
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        if state.get("shares") != [stage.share for stage in self.stages]:
            raise ValueError(
                f"{self.checkpoint} is of another recipe: name that one, or delete it to start anew"
            )
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        if self.aligner:
            self.aligner.load_state_dict(state["aligner"])
        self.stage, self.spent_s, self.step = state["stage"], state["spent_s"], state["step"]
        self.optimizer = self._optimizer()
        self.optimizer.load_state_dict(state["optimizer"])

    @property
    def current(self) -> Stage:
        return self.stages[self.stage]

    def _progress(self) -> float:
        return self.spent_s / (self.budget_s * self.current.share)

    def learn(self, step: Step) -> float:
        """Descends once; the loss."""
        self.model.train()
        factor = (
            min((self.step + 1) / WARM_UP_STEPS, 1.0)
            * 0.5
            * (1 + math.cos(math.pi * min(self._progress(), 1)))
        )
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * max(factor, 0.02)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.low_precision):
            loss = self._loss(step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], CLIP_NORM)
        self.optimizer.step()
        self.step += 1
        decay = min(EMA_DECAY, (1 + self.step + 1000 * self.stage) / (10 + self.step + 1000 * self.stage))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        return float(loss.detach())

    def _loss(self, step: Step) -> torch.Tensor:
        model, stage = self.model, self.current
        with torch.set_grad_enabled(stage.stem_rate > 0):
            maps = step.maps.contiguous(memory_format=torch.channels_last)
            maps = model.vision.stem.resume(maps, FROZEN_STAGES)
        images_PMD = model.vision.embed_map(maps)
        loss = model(images_PMD, step.batch, stage.dropout)
        if self.aligner:
            aligned = self.aligner(images_PMD, model.decoder, step.at_P9W, step.anywhere_PW)
            loss = loss + ALIGNMENT * aligned
        if stage.critic and self.critic and self._to_judge:
            loss = loss + stage.critic * self._judge(self.critic, *next(self._to_judge))
        return loss

    def _judge(self, critic: SelfCritic, maps: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        with torch.no_grad():
            seen = maps.to(self.device).contiguous(memory_format=torch.channels_last)
            seen = self.model.vision.stem.resume(seen, FROZEN_STAGES)
        loss, reward = critic.loss(self.model, self.model.vision.embed_map(seen), rows)
        self.reward += 0.02 * (reward - self.reward)
        return loss

    def _optimizer(self) -> torch.optim.AdamW:
        model, stage = self.model, self.current
        head = list(model.vision.head.parameters())
        stem = list(model.vision.stem.stages[FROZEN_STAGES:].parameters()) if stage.stem_rate else []
        special = {id(p) for p in head} | {id(p) for p in model.vision.stem.parameters()}
        others = [p for p in model.parameters() if id(p) not in special]
        others += self.aligner.parameters() if self.aligner else ()
        groups = [
            {
                "params": [p for p in others if p.ndim > 1],
                "rate": stage.learning_rate,
                "weight_decay": WEIGHT_DECAY,
            },
            {"params": [p for p in others if p.ndim <= 1], "rate": stage.learning_rate, "weight_decay": 0.0},
            {"params": head, "rate": stage.head_rate, "weight_decay": 0.0},
            {"params": stem, "rate": stage.stem_rate, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            [g for g in groups if g["params"]], lr=stage.learning_rate, betas=(0.9, 0.98)
        )


def train(
    data: Path,
    work: Path,
    minutes: float,
    seed: int,
    start: Path | None = None,
    stages: Sequence[Stage] = WHOLE,
) -> None:
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
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    tokens = model.vision.config.tokens
    batches = Batches(data, work / "features", tokenizer, tokens)
    aligner = Aligner(batches.words.words, tokenizer).to(device)
    critic = SelfCritic(batches.photos, batches.features, tokenizer, tokens, seed)
    trainer = Trainer(model, work / "checkpoint.pt", minutes, stages, aligner, critic)
    if trainer.checkpoint.exists():
        trainer.resume()
    batches.seed(seed + trainer.step)
    trainer.run(batches)
