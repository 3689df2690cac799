"""Trains the streaming branch on top of the frozen recogniser.

Three teachers: the frozen decoder, who must read the right text from the branch's states; the frozen encoder,
whose states on the clean clip are the target wherever its ear can be trusted; and CTC, on characters and on
syllables, also of texts that were never spoken (`collage`).
A checkpoint goes on where it stopped, with the same draws.
"""

import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from services.speech.model.config import StreamingConfig
from services.speech.model.recogniser import RecogniserModel
from services.speech.model.running import RunningLevels
from services.speech.model.streaming import StreamingBranch
from training.precision import multiplies_bfloat16
from training.speech.augment import Chances
from training.speech.batches import Ear, Sources, batches
from training.speech.bundle import open_bundle
from training.speech.collage import Collage
from training.speech.learner import Learner, Recipe, losses_of

CHECKPOINT = "speech.pt"
SAVE_SECONDS = 100
CHUNKS = (12, 12, 12, 8, 16, 24)
REFRESH_POOLS = 10
UNSPOKEN_TEXTS = 20
WARM_UP_STEPS = 100


def train(
    data: Path,
    made: Path,
    bundle: Path,
    work: Path,
    minutes: float,
    seed: int,
    *,
    afresh: bool = True,
    recipe: Recipe | None = None,
) -> None:
    """Runs until the budget is spent. Not `afresh`: goes on from the branch that the bundle has."""
    recipe = recipe or Recipe()
    torch.manual_seed(seed)
    model, vocabulary = open_bundle(bundle, StreamingConfig() if afresh else None)
    model.requires_grad_(False)
    sources = Sources(data, made, vocabulary)
    learner = Learner(model, vocabulary)
    learner.requires_grad_(True)
    learner.branch.head.requires_grad_(False)  # made by `fold`
    if afresh:
        set_prior(learner.branch, model, sources)
    else:
        learner.take_up(vocabulary.characters)
    optimiser = torch.optim.AdamW(_groups(learner, recipe), weight_decay=recipe.weight_decay)
    start_rates = [group["lr"] for group in optimiser.param_groups]
    step, spent, pool = _resume(work, learner, optimiser)
    ear = Ear(model.config.features, learner.branch.start().levels, Chances())
    low_precision = multiplies_bfloat16(torch.device("cpu"))
    saved = time.monotonic()
    averages: dict[str, float] = {}
    while spent < minutes * 60:
        pool += 1
        if pool % REFRESH_POOLS == 0:
            sources.refresh()
        for batch in batches(sources, ear, np.random.default_rng((seed, pool))):
            begun = time.monotonic()
            factor = min(1, (step + 1) / WARM_UP_STEPS) * max(0.0, 1 - spent / (minutes * 60))
            for group, rate in zip(optimiser.param_groups, start_rates, strict=True):
                group["lr"] = rate * factor
            rng = np.random.default_rng((seed, pool, step))
            unspoken = draw_unspoken(sources, learner.collage, rng)
            chunk_frames = CHUNKS[step % len(CHUNKS)]
            with torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
                losses = losses_of(model, learner, vocabulary, batch, chunk_frames, recipe, unspoken)
            optimiser.zero_grad(set_to_none=True)
            torch.stack([loss.float() for loss in losses.values()]).sum().backward()
            nn.utils.clip_grad_norm_(learner.parameters(), recipe.clip)
            optimiser.step()
            step += 1
            spent += time.monotonic() - begun
            for name, value in losses.items():
                averages[name] = 0.97 * averages.get(name, value.item()) + 0.03 * value.item()
            if step % 20 == 0:
                shown = " ".join(f"{name} {value:.3f}" for name, value in averages.items())
                print(f"{time.strftime('%H:%M:%S')} step {step} min {spent / 60:.1f} {shown}", flush=True)
            if time.monotonic() - saved > SAVE_SECONDS or spent >= minutes * 60:
                _save(work, learner, optimiser, step, spent, pool)
                saved = time.monotonic()
            if spent >= minutes * 60:
                return


def draw_unspoken(
    sources: Sources, collage: Collage, rng: np.random.Generator
) -> list[tuple[str, torch.Tensor]]:
    """Texts of which every syllable has been heard, with states; few or none at the beginning."""
    texts = [sources.draw_text(rng) for _ in range(UNSPOKEN_TEXTS)]
    return [(text, collage.say(text, rng)) for text in texts if collage.can_say(text)]


def set_prior(branch: StreamingBranch, model: RecogniserModel, sources: Sources) -> None:
    """Mean and spread of the levels of recorded sentences, where an utterance's normalisation begins."""
    nothing = RunningLevels.start(branch.prior_mean_M, branch.prior_spread_M, 0)
    ear = Ear(model.config.features, nothing, Chances())
    clips = [clip.samples.astype(np.float32) / 32_768 for clip in sources.real[:40]]
    levels_TM = torch.cat([ear.levels(samples) for samples in clips])
    branch.prior_mean_M.copy_(levels_TM.mean(0))
    branch.prior_spread_M.copy_(levels_TM.std(0))


def load_branch(bundle: Path, work: Path) -> StreamingBranch:
    """The trained branch, its head folded."""
    model, vocabulary = open_bundle(bundle, StreamingConfig())
    learner = Learner(model, vocabulary)
    learner.load_state_dict(torch.load(work / CHECKPOINT, weights_only=True)["learner"])
    return learner.fold()


def _groups(learner: Learner, recipe: Recipe) -> list[dict[str, object]]:
    own = [learner.head.own_VD]
    heads = [learner.head.mapped_DD, learner.head.parts.weight, learner.head.blank_bias]
    heads += list(learner.syllable_head.parameters())
    branch = [parameter for parameter in learner.branch.parameters() if parameter.requires_grad]
    return [
        {"params": branch, "lr": recipe.rate_branch},
        {"params": heads, "lr": recipe.rate_head},
        {"params": own, "lr": recipe.rate_own},
    ]


def _save(
    work: Path, learner: Learner, optimiser: torch.optim.Optimizer, step: int, spent: float, pool: int
) -> None:
    work.mkdir(parents=True, exist_ok=True)
    partial = work / f"{CHECKPOINT}.partial"
    torch.save(
        {
            "learner": learner.state_dict(),
            "optimiser": optimiser.state_dict(),
            "progress": (step, spent, pool),
        },
        partial,
    )
    partial.replace(work / CHECKPOINT)


def _resume(work: Path, learner: Learner, optimiser: torch.optim.Optimizer) -> tuple[int, float, int]:
    if not (work / CHECKPOINT).exists():
        return 0, 0.0, 0
    saved = torch.load(work / CHECKPOINT, weights_only=True)
    learner.load_state_dict(saved["learner"])
    optimiser.load_state_dict(saved["optimiser"])
    return saved["progress"]
