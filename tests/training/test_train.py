"""A step moves what the stage says, and a checkpoint goes on where it stopped."""

import random
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from services.llm.tokenizer import Tokenizer
from training.__main__ import app
from training.alignment import ABSENT, PRESENT, UNKNOWN, Aligner
from training.batches import Step
from training.collate import collate
from training.data.dialogues import Dialogue
from training.data.hearing import Hearing
from training.data.turns import Turn
from training.model import JointModel
from training.samples import SampleBuilder
from training.stages import POLISHED, STAGES_OF, Recipe
from training.train import Trainer


@pytest.fixture
def step(tokenizer: Tokenizer, model: JointModel, monkeypatch: pytest.MonkeyPatch) -> Step:
    monkeypatch.setattr("training.train.FROZEN_STAGES", 1)  # of the tiny stem's two
    builder, rng = SampleBuilder(tokenizer, 4, Hearing("")), random.Random(0)
    photos = [builder.pictures([Turn("这是什么？", ("苹果。",), ("红。",))], rng) for _ in range(2)]
    batch = collate([*photos, builder.dialogue(Dialogue(("你好", "很高兴"), ""), rng)])
    at_P9W = torch.tensor([[[PRESENT, ABSENT]] * 4] * 2)
    return Step(torch.randn(2, 4, 8, 8), at_P9W, torch.full((2, 2), UNKNOWN), batch)


@pytest.fixture
def aligner(tokenizer: Tokenizer) -> Aligner:
    return Aligner(("红色", "苹果"), tokenizer)


def moved(before: dict[str, torch.Tensor], model: JointModel) -> set[str]:
    after = model.state_dict()
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def copy_of(model: JointModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_the_first_stage_leaves_the_stem_alone_and_the_second_moves_its_end(
    model: JointModel, aligner: Aligner, step: Step, tmp_path: Path
) -> None:
    trainer = Trainer(model, tmp_path / "checkpoint.pt", minutes=1, aligner=aligner)
    before = copy_of(model)
    trainer.learn(step)
    assert moved(before, model) == {"vision", "decoder", "gate"}
    stem = [name for name in before if name.startswith("vision.stem")]
    assert all(torch.equal(before[name], model.state_dict()[name]) for name in stem)

    trainer.advance()
    trainer.learn(step)
    changed = {name for name in stem if not torch.equal(before[name], model.state_dict()[name])}
    assert changed
    assert all(name.startswith("vision.stem.stages.1.") for name in changed)


def test_a_checkpoint_goes_on_where_it_stopped(
    model: JointModel, aligner: Aligner, step: Step, tmp_path: Path
) -> None:
    trainer = Trainer(model, tmp_path / "checkpoint.pt", minutes=1, aligner=aligner)
    trainer.learn(step)
    trainer.spent_s = 7.0
    trainer.save()
    torch.manual_seed(1)
    expected = trainer.learn(step)

    again = Trainer(model, tmp_path / "checkpoint.pt", minutes=1, aligner=aligner)
    again.resume()
    torch.manual_seed(1)
    assert (again.spent_s, again.step) == (7.0, 1)
    assert again.learn(step) == pytest.approx(expected, rel=1e-5)


def test_a_checkpoint_of_another_recipe_is_refused(
    model: JointModel, aligner: Aligner, tmp_path: Path
) -> None:
    Trainer(model, tmp_path / "checkpoint.pt", minutes=1, aligner=aligner).save()
    other = Trainer(model, tmp_path / "checkpoint.pt", minutes=1, stages=POLISHED, aligner=aligner)
    with pytest.raises(ValueError, match="another recipe"):
        other.resume()


@pytest.mark.parametrize("recipe", Recipe)
def test_the_stages_of_a_recipe_share_the_whole_budget(recipe: Recipe) -> None:
    assert sum(stage.share for stage in STAGES_OF[recipe]) == pytest.approx(1)


@pytest.mark.parametrize("recipe", ["continued", "polished"])
def test_a_recipe_that_goes_on_from_a_bundle_asks_for_it(recipe: str, tmp_path: Path) -> None:
    asked = CliRunner().invoke(
        app, ["train", "--data", str(tmp_path), "--recipe", recipe], standalone_mode=False
    )
    assert isinstance(asked.exception, typer.BadParameter)
    assert "--start" in str(asked.exception)


def test_the_loss_falls(model: JointModel, aligner: Aligner, step: Step, tmp_path: Path) -> None:
    trainer = Trainer(model, tmp_path / "checkpoint.pt", minutes=1, aligner=aligner)
    losses = [trainer.learn(step) for _ in range(60)]
    assert sum(losses[-5:]) < sum(losses[:5])
