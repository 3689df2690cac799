"""Encoder, gate and decoder as one module, for learning together."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from services.llm.model.config import DecoderConfig
from services.llm.model.decoder import Decoder
from services.llm.model.fusion import GatingUnit
from services.vision.model.native import VisionConfig, VisionEncoder
from training.collate import Batch
from training.gaze import Gaze
from training.samples import IGNORE
from training.vision.stem_weights import load_lite2

LABEL_SMOOTHING = 0.1
GATE_BALANCE = 0.05
GAZE = 0.3
MOST_PICTURES = 2  # of one conversation, in training


class JointModel(nn.Module):
    """What `services.vision` and `services.llm` hold, in one place.

    Token embeddings are small (std d^-0.5, as the tied output wants them) and scaled by sqrt(d) on the way
    in; `training.export` folds that scale into the weights.
    """

    def __init__(self, vision: VisionConfig, text: DecoderConfig):
        super().__init__()
        self.vision = VisionEncoder(vision)
        self.decoder = Decoder(text)
        self.gate = GatingUnit(text.hidden_size)
        self.which = nn.Linear(text.head_dim, MOST_PICTURES)  # for `Gaze`; not exported
        self.embed_scale = math.sqrt(text.hidden_size)

    def initialise(self) -> None:
        """Random weights, except for the stem, which starts from ImageNet."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                fan_in = module.weight.shape[1]
                nn.init.normal_(module.weight, std=fan_in**-0.5)
                if isinstance(module, nn.Linear) and module.bias is not None:
                    nn.init.zeros_(module.bias)
        sublayers = 2 * self.decoder.config.num_hidden_layers
        for name, parameter in self.decoder.named_parameters():
            if "post_self_attn" in name or "post_mlp" in name:
                nn.init.constant_(parameter, sublayers**-0.5)
        nn.init.normal_(self.vision.position, std=0.02)
        nn.init.zeros_(self.gate.proj.weight)
        load_lite2(self.vision.stem, self.vision.head)

    def forward(self, images_PMD: torch.Tensor, batch: Batch, dropout: float) -> torch.Tensor:
        """Mean loss over the targets; images_PMD are the encoder's tokens of all pictures, row by row.

        In training, a light pull keeps the gate from shutting a modality out altogether.
        """
        x_BTD = self._embed(batch)
        x_BTD = x_BTD.masked_scatter(batch.image_BT.unsqueeze(-1), images_PMD.to(x_BTD.dtype))
        weights_G3, scales_GT = self.gate(x_BTD[batch.gate_row_G], batch.modality_GT)
        # The gates of one row weigh different tokens, so their scales may be summed.
        scales_BT = torch.ones_like(batch.weights_BT).index_add(
            0, batch.gate_row_G, scales_GT.to(x_BTD.dtype) - 1
        )
        x_BTD = x_BTD * scales_BT.unsqueeze(-1)
        x_BTD = F.dropout(x_BTD, dropout, self.training)
        attend = Gaze(batch, dropout if self.training else 0.0, self.which)
        hidden_BTD = self.decoder(x_BTD, batch.positions_BT, attend)
        wanted = batch.targets_BT != IGNORE
        logits = self.decoder.logits(hidden_BTD[wanted])
        targets = batch.targets_BT[wanted]
        if not self.training:
            return F.cross_entropy(logits, targets)
        balance = -weights_G3[weights_G3 > 0].log().sum() / max(1, len(weights_G3))
        loss = F.cross_entropy(logits, targets, label_smoothing=LABEL_SMOOTHING) + GATE_BALANCE * balance
        return loss + GAZE * attend.loss

    def _embed(self, batch: Batch) -> torch.Tensor:
        """Token embeddings; what was heard unsurely lies between two of them."""
        x_BTD = self.decoder.embed(batch.ids_BT)
        unsure = batch.weights_BT < 1
        share_N1 = batch.weights_BT[unsure].unsqueeze(-1)
        other_ND = self.decoder.embed(batch.others_BT[unsure])
        x_BTD[unsure] = share_N1 * x_BTD[unsure] + (1 - share_N1) * other_ND
        return x_BTD * self.embed_scale
