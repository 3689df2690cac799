"""A few steps: only the decoder's blocks move, losses fall, a checkpoint goes on, weights lie between."""

from pathlib import Path

import numpy as np
import pytest
import torch

from services.speech.model.encoder import subsampled
from services.speech.model.features import LogMel
from training.speech.adapt import CHECKPOINT, adapt, adaptable, blend, losses_of
from training.speech.bundle import open_bundle
from training.speech.lessons import Batch, Draws, Recipe, Unspoken

TEXTS = ["今天很好", "苹果是红色的"]


def batch() -> Batch:
    torch.manual_seed(1)
    features = torch.randn(2, 120, 40)
    frames = torch.tensor([subsampled(120), subsampled(99)])
    return Batch(features, features + 0.1, frames, TEXTS, torch.tensor([True, False]))


def test_only_the_decoders_blocks_learn_and_reading_gets_better(bundle: Path) -> None:
    original, vocabulary = open_bundle(bundle)
    model, _ = open_bundle(bundle)
    original.requires_grad_(False)
    model.requires_grad_(False)
    trained = adaptable(model)
    for parameter in trained.values():
        parameter.requires_grad_(True)
    unspoken = Unspoken(torch.randn(1, 80, 40), torch.tensor([subsampled(80)]), ["你好"])
    optimiser = torch.optim.Adam(trained.values(), 3e-3)
    history = []
    for _ in range(15):
        losses = losses_of(original, model, vocabulary, batch(), unspoken, Recipe())
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimiser.step()
        history.append({name: loss.item() for name, loss in losses.items()})
    assert set(history[0]) == {"read", "unspoken", "hold"}
    assert all(history[-1][name] < history[0][name] for name in ("read", "unspoken"))
    before = original.state_dict()
    moved = {name for name, own in model.state_dict().items() if not torch.equal(own, before[name])}
    assert moved <= set(trained)


def test_nothing_that_is_kept_to_choose_by_is_drawn(data: Path, made: Path, bundle: Path) -> None:
    model, vocabulary = open_bundle(bundle)
    draws = Draws(data, made, vocabulary, LogMel(model.config.features), Recipe())
    held_out = "一个苹果很好"
    rng = np.random.default_rng(0)
    texts = [text for batch in draws.pool(rng) for text in batch.texts]
    assert len(texts) > 50
    assert all(clip.text != held_out for clip in draws.sentences if clip.source.startswith("made"))


def test_a_checkpoint_goes_on_where_it_stopped(data: Path, made: Path, bundle: Path, tmp_path: Path) -> None:
    recipe = Recipe(batch_seconds=4.0, unspoken_texts=2)
    adapt(data, made, bundle, tmp_path, 0.005, 0, recipe)
    first = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    spent = first["progress"][1]  # one step may take longer than the budget
    adapt(data, made, bundle, tmp_path, spent / 60 + 0.005, 0, recipe)
    second = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert second["progress"][0] > first["progress"][0]
    assert second["progress"][1] >= spent + 0.3


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_what_is_exported_lies_between_original_and_trained(
    data: Path, made: Path, bundle: Path, tmp_path: Path, share: float
) -> None:
    adapt(data, made, bundle, tmp_path, 0.005, 0, Recipe(batch_seconds=4.0, unspoken_texts=2))
    trained = torch.load(tmp_path / CHECKPOINT, weights_only=True)["weights"]
    original, _ = open_bundle(bundle)
    before = {name: own.clone() for name, own in original.state_dict().items()}
    blended = blend(original, tmp_path, share).state_dict()
    for name, own in before.items():
        expected = torch.lerp(own, trained[name], share) if name in trained else own
        assert torch.allclose(blended[name], expected, atol=1e-6)
