"""Adapts the decoder to isolated words, made voices and everyday sentences, and holds it to what it knew.

The encoder stays, and with it the streaming branch. The decoder reads what is spoken, and patchwork of texts
that nobody has spoken. Of recorded sentences it is to say what it said before
(https://arxiv.org/abs/1606.09282), and what is exported lies between the original weights and the trained
ones (https://arxiv.org/abs/2109.01903): how far, is chosen on clips that are kept to choose by.
A checkpoint goes on where it stopped, with the same draws.
"""

import copy
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from services.speech.model.features import LogMel
from services.speech.model.recogniser import RecogniserModel
from services.speech.vocabulary import Vocabulary
from training.speech.bundle import open_bundle
from training.speech.lessons import Batch, Draws, Recipe, Texts, Unspoken
from training.speech.patchwork import Patchwork
from training.speech.reading import NOTHING, read_texts, written_and_wanted

CHECKPOINT = "adapted.pt"
SAVE_SECONDS = 100
WARM_UP_STEPS = 100


def adapt(
    data: Path, made: Path, bundle: Path, work: Path, minutes: float, seed: int, recipe: Recipe | None = None
) -> None:
    """Runs until the budget is spent; see the module's docstring."""
    recipe = recipe or Recipe()
    original, vocabulary = open_bundle(bundle)
    original.requires_grad_(False)
    model = copy.deepcopy(original)
    trained = adaptable(model)
    for parameter in trained.values():
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(trained.values(), lr=recipe.rate, weight_decay=0.0)
    step, spent, pool = _resume(work, trained, optimiser)
    draws = Draws(data, made, vocabulary, LogMel(model.config.features), recipe)
    texts = Texts(data, vocabulary, Patchwork(original, vocabulary, draws.sentences), recipe)
    saved, averages = time.monotonic(), dict[str, float]()
    while spent < minutes * 60:
        pool += 1
        rng = np.random.default_rng((seed, pool))
        for batch in draws.pool(rng):
            begun = time.monotonic()
            factor = min(1, (step + 1) / WARM_UP_STEPS) * max(0.0, 1 - spent / (minutes * 60))
            optimiser.param_groups[0]["lr"] = recipe.rate * factor
            with torch.autocast("cpu", torch.bfloat16):  # twice as fast where the CPU multiplies bfloat16
                losses = losses_of(original, model, vocabulary, batch, texts.draw(rng), recipe)
            optimiser.zero_grad(set_to_none=True)
            torch.stack([loss.float() for loss in losses.values()]).sum().backward()
            nn.utils.clip_grad_norm_(trained.values(), recipe.clip)
            optimiser.step()
            step, spent = step + 1, spent + time.monotonic() - begun
            for name, value in losses.items():
                averages[name] = 0.97 * averages.get(name, value.item()) + 0.03 * value.item()
            if step % 20 == 0:
                shown = " ".join(f"{name} {value:.3f}" for name, value in averages.items())
                print(f"{time.strftime('%H:%M:%S')} step {step} min {spent / 60:.1f} {shown}", flush=True)
            if time.monotonic() - saved > SAVE_SECONDS or spent >= minutes * 60:
                _save(work, trained, optimiser, (step, spent, pool))
                saved = time.monotonic()
            if spent >= minutes * 60:
                return


def blend(model: RecogniserModel, work: Path, share: float) -> RecogniserModel:
    """The model, moved by this share of the way to what was trained."""
    trained = torch.load(work / CHECKPOINT, weights_only=True)["weights"]
    with torch.no_grad():
        for name, parameter in adaptable(model).items():
            parameter.lerp_(trained[name], share)
    return model


def adaptable(model: RecogniserModel) -> dict[str, nn.Parameter]:
    """What may change: a table that moves would lose the characters that are never heard."""
    return {
        name: parameter for name, parameter in model.named_parameters() if name.startswith("decoder.blocks.")
    }


def losses_of(
    original: RecogniserModel,
    model: RecogniserModel,
    vocabulary: Vocabulary,
    batch: Batch,
    unspoken: Unspoken,
    recipe: Recipe,
) -> dict[str, torch.Tensor]:
    """Reading the right text, and saying of recorded sentences what the original said."""
    said = written_and_wanted([vocabulary.ids(text) or [] for text in batch.texts])
    mask_B11S, held_B = batch.mask_B11S, batch.held_B
    with torch.no_grad():
        states_BSD = model.encoder(batch.features_BTM, mask_B11S)
    logits_BNV = read_texts(model, said[0], states_BSD, mask_B11S)
    losses = {"read": _reading(logits_BNV, said[1], recipe)}
    if unspoken.texts:
        texts = written_and_wanted([vocabulary.ids(text) or [] for text in unspoken.texts])
        with torch.no_grad():
            states_USD = model.encoder(unspoken.features_BTM, unspoken.mask_B11S)
        logits_UNV = read_texts(model, texts[0], states_USD, unspoken.mask_B11S)
        losses["unspoken"] = recipe.unspoken * _reading(logits_UNV, texts[1], recipe)
    if held_B.any():
        with torch.no_grad():
            states_HSD = original.encoder(batch.clean_BTM[held_B], mask_B11S[held_B])
            wanted_HNV = read_texts(original, said[0][held_B], states_HSD, mask_B11S[held_B])
        counted_HN = said[1][held_B] != NOTHING
        losses["hold"] = recipe.hold * F.kl_div(
            logits_BNV[held_B][counted_HN].float().log_softmax(-1),
            wanted_HNV[counted_HN].float().log_softmax(-1),
            log_target=True,
            reduction="batchmean",
        )
    return losses


def _reading(logits_BNV: torch.Tensor, wanted_BN: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    return F.cross_entropy(
        logits_BNV.flatten(0, 1).float(), wanted_BN.flatten(), label_smoothing=recipe.smoothing
    )


def _save(
    work: Path,
    trained: dict[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
    progress: tuple[int, float, int],
) -> None:
    work.mkdir(parents=True, exist_ok=True)
    partial = work / f"{CHECKPOINT}.partial"
    weights = {name: parameter.detach() for name, parameter in trained.items()}
    torch.save({"weights": weights, "optimiser": optimiser.state_dict(), "progress": progress}, partial)
    partial.replace(work / CHECKPOINT)


def _resume(
    work: Path, trained: dict[str, nn.Parameter], optimiser: torch.optim.Optimizer
) -> tuple[int, float, int]:
    if not (work / CHECKPOINT).exists():
        return 0, 0.0, 0
    saved = torch.load(work / CHECKPOINT, weights_only=True)
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(saved["weights"][name])
    optimiser.load_state_dict(saved["optimiser"])
    return saved["progress"]
