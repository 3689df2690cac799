"""What is exported says what was trained."""

from pathlib import Path

import torch

from servicekit.shards import WEIGHTS
from services.llm.checkpoint import Bundle
from services.llm.model.attention import DenseAttention, prefix_mask
from services.llm.tokenizer import Tokenizer
from services.vision.model.native import VisionConfig
from services.vision.native import NativeCheckpoint
from training.export import Part, export, fold_embed_scale
from training.model import JointModel
from training.tokenizer import build_tokenizer
from training.train import text_config


def test_folding_the_embedding_scale_changes_no_logit(model: JointModel) -> None:
    ids = torch.randint(0, model.decoder.config.vocab_size, (9,))
    attend = DenseAttention(prefix_mask(9, []))

    def logits() -> torch.Tensor:
        x = model.decoder.embed(ids) * model.embed_scale
        return model.decoder.logits(model.decoder(x, torch.arange(9), attend))

    with torch.inference_mode():
        before = logits()
        fold_embed_scale(model)
        torch.testing.assert_close(logits(), before)
    assert model.embed_scale == 1.0


def test_int8_is_half_the_size_and_nearly_the_same_model(tmp_path: Path) -> None:
    build_tokenizer(["这是什么？红色苹果。"], tmp_path / "tokenizer.json")
    tokenizer = Tokenizer(tmp_path / "tokenizer.json")
    model = JointModel(VisionConfig(), text_config(tokenizer))
    torch.save({"average": model.state_dict()}, tmp_path / "checkpoint.pt")
    bundles = tmp_path / "half", tmp_path / "eighth"
    for bundle, int8 in zip(bundles, ((), tuple(Part)), strict=True):
        export(tmp_path, bundle, int8)
    for part in ("vision", "llm"):
        half, eighth = ((bundle / part / WEIGHTS).stat().st_size for bundle in bundles)
        assert 0.5 < eighth / half < 0.55
    cpu = torch.device("cpu")
    trained, restored = (NativeCheckpoint.open(b).load(cpu, torch.float32).state_dict() for b in bundles)
    for name, tensor in trained.items():
        assert (restored[name] - tensor).norm() <= 0.02 * tensor.norm(), name
    trained, restored = (
        Bundle.find(bundle).load(torch.float32, cpu).decoder.state_dict() for bundle in bundles
    )
    for name, tensor in trained.items():
        assert (restored[name] - tensor).norm() <= 0.02 * tensor.norm(), name
