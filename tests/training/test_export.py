"""What is exported says what was trained."""

import torch

from services.llm.model.attention import DenseAttention, prefix_mask
from training.export import fold_embed_scale
from training.model import JointModel


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
