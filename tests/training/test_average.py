"""The mean of bundles lies between them, and only bundles of one family are averaged."""

from pathlib import Path

import pytest
import torch

from servicekit.shards import WEIGHTS, Shards
from services.llm.tokenizer import Tokenizer
from services.vision.model.native import VisionConfig
from training.average import average
from training.export import Part, export
from training.model import JointModel
from training.tokenizer import build_tokenizer
from training.train import text_config


@pytest.fixture
def bundles(tmp_path: Path) -> list[Path]:
    """Two of one vocabulary, with different weights."""
    build_tokenizer(["这是什么？红色苹果。"], tmp_path / "tokenizer.json")
    made = []
    for seed in range(2):
        torch.manual_seed(seed)
        model = JointModel(VisionConfig(), text_config(Tokenizer(tmp_path / "tokenizer.json")))
        torch.save({"average": model.state_dict()}, tmp_path / "checkpoint.pt")
        made.append(tmp_path / f"bundle{seed}")
        export(tmp_path, made[-1])
    return made


def read(bundle: Path, part: Part) -> dict[str, torch.Tensor]:
    return Shards.open(bundle / part).read_all()


def test_the_mean_counts_each_bundle_by_its_share(bundles: list[Path], tmp_path: Path) -> None:
    average(bundles, (3, 1), tmp_path / "mean")
    for part in Part:
        first, second, mean = (read(bundle, part) for bundle in (*bundles, tmp_path / "mean"))
        for name, tensor in mean.items():
            wanted = 0.75 * first[name].float() + 0.25 * second[name].float()
            torch.testing.assert_close(tensor.float(), wanted, atol=2e-3, rtol=2e-3)


def test_a_part_goes_in_int8_when_it_is_named(bundles: list[Path], tmp_path: Path) -> None:
    average(bundles, (1, 1), tmp_path / "mean")
    average(bundles, (1, 1), tmp_path / "small", int8=(Part.LLM,))
    size = {
        out: {part: (tmp_path / out / part / WEIGHTS).stat().st_size for part in Part}
        for out in ("mean", "small")
    }
    assert size["small"][Part.LLM] < 0.7 * size["mean"][Part.LLM]
    assert size["small"][Part.VISION] == size["mean"][Part.VISION]


@pytest.mark.parametrize("shares", [(1,), (2, -1), (1, 0), (1, float("nan")), (1, float("inf"))])
def test_each_bundle_has_a_share_above_nothing(
    bundles: list[Path], tmp_path: Path, shares: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match="share"):
        average(bundles, shares, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_a_mean_does_not_overwrite_what_it_is_made_of(bundles: list[Path]) -> None:
    with pytest.raises(ValueError, match="overwrite"):
        average(bundles, (1, 1), bundles[0])


def test_strangers_are_refused(bundles: list[Path], tmp_path: Path) -> None:
    (bundles[1] / "llm" / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="vocabularies"):
        average(bundles, (1, 1), tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
