"""The mean of bundles lies between them, and only bundles of one family are averaged."""

from pathlib import Path

import pytest
import torch

from servicekit.shards import Shards
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


def test_strangers_are_refused(bundles: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="share"):
        average(bundles, (1,), tmp_path / "mean")
    (bundles[1] / "llm" / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="vocabularies"):
        average(bundles, (1, 1), tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
