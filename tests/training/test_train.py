"""A step moves what the stage says, and a checkpoint goes on where it stopped."""

import random
from pathlib import Path

import pytest
import torch

from services.llm.tokenizer import Tokenizer
from training.data.dialogues import Dialogue
from training.data.hearing import Hearing
from training.data.turns import Turn
from training.model import JointModel
from training.samples import Batch, SampleBuilder, collate
from training.train import Trainer


@pytest.fixture
def batch(tokenizer: Tokenizer) -> Batch:
    builder, rng = SampleBuilder(tokenizer, 4, Hearing("")), random.Random(0)
    photos = [builder.pictures([Turn("这是什么？", ("苹果。",), ("红。",))], rng) for _ in range(2)]
    return collate([*photos, builder.dialogue(Dialogue(("你好", "很高兴"), ""), rng)])


@pytest.fixture
def maps(model: JointModel, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    monkeypatch.setattr("training.train.FROZEN_STAGES", 1)  # of the tiny stem's two
    return torch.randn(2, 4, 8, 8)


def moved(before: dict[str, torch.Tensor], model: JointModel) -> set[str]:
    after = model.state_dict()
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def copy_of(model: JointModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_the_first_stage_leaves_the_stem_alone_and_the_second_moves_its_end(
    model: JointModel, batch: Batch, maps: torch.Tensor, tmp_path: Path
) -> None:
    trainer = Trainer(model, tmp_path / "checkpoint.pt", minutes=1)
    before = copy_of(model)
    trainer.learn(maps, batch)
    assert moved(before, model) == {"vision", "decoder", "gate"}
    stem = [name for name in before if name.startswith("vision.stem")]
    assert all(torch.equal(before[name], model.state_dict()[name]) for name in stem)

    trainer.advance()
    trainer.learn(maps, batch)
    changed = {name for name in stem if not torch.equal(before[name], model.state_dict()[name])}
    assert changed
    assert all(name.startswith("vision.stem.stages.1.") for name in changed)


def test_a_checkpoint_goes_on_where_it_stopped(
    model: JointModel, batch: Batch, maps: torch.Tensor, tmp_path: Path
) -> None:
    trainer = Trainer(model, tmp_path / "checkpoint.pt", minutes=1)
    trainer.learn(maps, batch)
    trainer.spent_s = 7.0
    trainer.save()
    torch.manual_seed(1)
    expected = trainer.learn(maps, batch)

    again = Trainer(model, tmp_path / "checkpoint.pt", minutes=1)
    again.resume()
    torch.manual_seed(1)
    assert (again.spent_s, again.step) == (7.0, 1)
    assert again.learn(maps, batch) == pytest.approx(expected, rel=1e-5)


def test_the_loss_falls(model: JointModel, batch: Batch, maps: torch.Tensor, tmp_path: Path) -> None:
    trainer = Trainer(model, tmp_path / "checkpoint.pt", minutes=1)
    losses = [trainer.learn(maps, batch) for _ in range(60)]
    assert sum(losses[-5:]) < sum(losses[:5])
