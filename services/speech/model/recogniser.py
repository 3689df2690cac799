"""Encoder, decoder, streaming branch, and the table into a language model: everything the bundle holds."""

import torch
from torch import nn

from services.speech.model.config import SpeechConfig
from services.speech.model.decoder import SpeechDecoder
from services.speech.model.encoder import SpeechEncoder
from services.speech.model.streaming import StreamingBranch


class RecogniserModel(nn.Module):
    """The weights of a speech bundle; the last two parts are there when the config says so."""

    def __init__(self, config: SpeechConfig):
        super().__init__()
        self.config = config
        self.encoder = SpeechEncoder(config)
        self.decoder = SpeechDecoder(config)
        self.streaming = StreamingBranch(config, config.streaming) if config.streaming else None
        self.projector = (
            nn.Embedding(config.vocabulary_size, config.projector_size) if config.projector_size else None
        )

    def project(self, posteriors_NV: torch.Tensor) -> torch.Tensor:
        """Soft characters in the language model's embedding space: [N, projector_size]."""
        if self.projector is None:
            return self.decoder.embedding.weight.new_zeros(len(posteriors_NV), 0)
        return posteriors_NV.to(self.projector.weight) @ self.projector.weight
