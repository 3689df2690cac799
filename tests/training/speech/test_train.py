"""A few steps of training: only the branch moves, losses fall, a checkpoint goes on where it stopped."""

from pathlib import Path

import numpy as np
import pytest
import torch

from services.speech.model.config import StreamingConfig
from services.speech.model.encoder import subsampled
from services.speech.model.recogniser import RecogniserModel
from services.speech.vocabulary import Vocabulary
from training.speech.augment import Chances
from training.speech.batches import Batch, Ear, Sources, batches
from training.speech.bundle import open_bundle, write_branch
from training.speech.learner import Learner, Recipe, losses_of
from training.speech.train import CHECKPOINT, load_branch, set_prior, train

TEXTS = ["今天很好", "苹果是红色的"]


@pytest.fixture
def model_and_vocabulary(bundle: Path) -> tuple[RecogniserModel, Vocabulary]:
    model, vocabulary = open_bundle(bundle, StreamingConfig(kernel_size=5, adapter_rank=4, context_layers=1))
    return model.requires_grad_(False), vocabulary


def batch(*, whole: bool) -> Batch:
    torch.manual_seed(1)
    features = torch.randn(2, 120, 40)
    frames = torch.tensor([subsampled(120), subsampled(99)])
    return Batch(features, features + 0.1, frames, TEXTS, torch.tensor([True, False]), whole)


@pytest.mark.parametrize("whole", [True, False])
def test_only_the_branch_learns_and_every_loss_falls(
    model_and_vocabulary: tuple[RecogniserModel, Vocabulary], whole: bool
) -> None:
    model, vocabulary = model_and_vocabulary
    learner = Learner(model, vocabulary).requires_grad_(True)
    before = {name: own.clone() for name, own in model.state_dict().items() if "streaming" not in name}
    optimiser = torch.optim.Adam(learner.parameters(), 3e-3)
    history = []
    for _ in range(15):
        losses = losses_of(model, learner, vocabulary, batch(whole=whole), 4, Recipe(), [])
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimiser.step()
        history.append({name: loss.item() for name, loss in losses.items()})
    assert set(history[0]) == {"read", "characters", "syllables", "states"}
    assert all(history[-1][name] < history[0][name] for name in ("read", "characters", "syllables"))
    assert all(torch.equal(model.state_dict()[name], own) for name, own in before.items())


def test_unspoken_texts_teach_the_head_but_no_encoder_block(
    model_and_vocabulary: tuple[RecogniserModel, Vocabulary],
) -> None:
    model, vocabulary = model_and_vocabulary
    learner = Learner(model, vocabulary).requires_grad_(True)
    unspoken = [("今天", torch.randn(9, 32)), ("好", torch.randn(5, 32))]
    losses = losses_of(model, learner, vocabulary, batch(whole=False), 4, Recipe(), unspoken)
    losses["unspoken"].backward()
    assert learner.head.parts.weight.grad is not None
    assert all(parameter.grad is None for parameter in learner.branch.blocks.parameters())
    assert any(parameter.grad is not None for parameter in learner.branch.context_bases.parameters())


def test_what_is_heard_is_as_long_as_what_the_teacher_hears(
    model_and_vocabulary: tuple[RecogniserModel, Vocabulary], data: Path, made: Path
) -> None:
    model, vocabulary = model_and_vocabulary
    sources = Sources(data, made, vocabulary)
    learner = Learner(model, vocabulary)
    set_prior(learner.branch, model, sources)
    ear = Ear(model.config.features, learner.branch.start().levels, Chances(1, 1, 1, 1, 1))
    drawn = list(batches(sources, ear, np.random.default_rng(0)))
    assert {made.whole for made in drawn} == {True, False}
    for made_batch in drawn:
        assert made_batch.features_BTM.shape == made_batch.clean_BTM.shape
        assert made_batch.features_BTM.isfinite().all()
        assert len(made_batch.texts) == len(made_batch.frames_B)
        assert all(vocabulary.ids(text) for text in made_batch.texts)


def test_a_stopped_training_goes_on_and_exports(bundle: Path, data: Path, made: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    train(data, made, bundle, work, minutes=0.02, seed=0)
    step, spent, _ = torch.load(work / CHECKPOINT, weights_only=True)["progress"]
    assert step >= 1
    assert spent >= 0.02 * 60
    train(data, made, bundle, work, minutes=0.02, seed=0)
    assert torch.load(work / CHECKPOINT, weights_only=True)["progress"][0] == step, "the budget is spent"
    train(data, made, bundle, work, minutes=spent / 60 + 0.01, seed=0)
    assert torch.load(work / CHECKPOINT, weights_only=True)["progress"][0] > step
    branch = load_branch(bundle, work)
    assert branch.head.weight.abs().sum() > 0


def test_a_training_can_begin_where_the_branch_of_the_bundle_stands(
    bundle: Path, data: Path, made: Path, tmp_path: Path
) -> None:
    train(data, made, bundle, tmp_path / "before", minutes=0.02, seed=0)
    before = load_branch(bundle, tmp_path / "before")
    with torch.no_grad():  # so that nothing but the bundle can know it
        torch.nn.init.normal_(before.head.weight)
        before.prior_mean_M.add_(1)
    write_branch(bundle, before)
    train(data, made, bundle, tmp_path / "after", minutes=0.001, seed=0, afresh=False)
    after = load_branch(bundle, tmp_path / "after")
    moved = (after.head.weight - before.head.weight).norm() / before.head.weight.norm()
    assert moved < 0.1
    torch.testing.assert_close(after.prior_mean_M, before.prior_mean_M, atol=1e-2, rtol=1e-2)
