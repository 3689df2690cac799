"""Teaches a picture's tokens to say, place by place, what stands there, in the words of the language model.

Each token is drawn towards the embeddings of the thing, the colour and the place that it stands for and away
from all others, by a sigmoid loss over pairs (SigLIP, arXiv:2303.15343). A question that names a thing then
finds its token by likeness, and the answer can be read off it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from services.llm.model.decoder import Decoder
from services.llm.tokenizer import Tokenizer
from training.data.icons import COLOURS
from training.data.pairs import Known
from training.data.photo_facts import THINGS as PHOTO_THINGS
from training.data.photos import Photo
from training.data.scenes import PLACES, Scene
from training.data.things import THINGS

UNKNOWN, ABSENT, PRESENT = -1, 0, 1
FIRST_SCALE, FIRST_BIAS = 10.0, -5.0


@dataclass(frozen=True)
class Labels:
    """For each of W words, whether it holds: at each of the nine places, and anywhere in the picture."""

    at_9W: np.ndarray
    anywhere_W: np.ndarray


class WordList:
    """The words that places are labelled with, W of them."""

    def __init__(self, photos: Sequence[Photo]):
        self._goods = sorted({photo.name for photo in photos if photo.name and photo.kind != "solid"})
        drawn = [thing.name for thing in THINGS]
        self.words = tuple(dict.fromkeys((*PLACES, *COLOURS, *drawn, *PHOTO_THINGS, *self._goods)))
        self._at = {word: index for index, word in enumerate(self.words)}
        self._colours, self._drawn = self._columns(COLOURS), self._columns(drawn)

    def scene_labels(self, scene: Scene) -> Labels:
        """All is known, but for the colour of a thing that has several."""
        labels = self._places()
        labels.at_9W[:, [*self._drawn, *self._colours]] = ABSENT
        for group in scene.groups:
            places = list(group.places)
            labels.at_9W[places, self._at[group.thing.name]] = PRESENT
            if group.colour:
                labels.at_9W[places, self._at[group.colour]] = PRESENT
            else:
                labels.at_9W[np.ix_(places, self._colours)] = UNKNOWN
        return labels

    def photo_labels(self, photo: Photo) -> Labels:
        """What is there, not where."""
        labels, known = self._places(), Known.of(photo)
        asked = PHOTO_THINGS if photo.kind == "scene" else self._goods if photo.name in self._at else ()
        labels.anywhere_W[self._columns([word for word in asked if word not in known.perhaps])] = ABSENT
        labels.anywhere_W[self._columns([word for word in known.there if word in self._at])] = PRESENT
        return labels

    def _places(self) -> Labels:
        at_9W = np.full((len(PLACES), len(self.words)), UNKNOWN, np.int8)
        at_9W[:, : len(PLACES)] = np.eye(len(PLACES))
        return Labels(at_9W, np.full(len(self.words), UNKNOWN, np.int8))

    def _columns(self, words: Sequence[str]) -> list[int]:
        return [self._at[word] for word in words]


class Aligner(nn.Module):
    """The loss, with a temperature and a bias that are learned beside the model."""

    ids_WL: torch.Tensor
    share_WL: torch.Tensor

    def __init__(self, words: Sequence[str], tokenizer: Tokenizer):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))
        self.bias = nn.Parameter(torch.tensor(FIRST_BIAS))
        ids = [torch.tensor(tokenizer.encode(word)) for word in words]
        shares = [torch.full((len(row),), 1 / len(row)) for row in ids]
        self.register_buffer("ids_WL", pad_sequence(ids, batch_first=True))
        self.register_buffer("share_WL", pad_sequence(shares, batch_first=True))

    def forward(
        self, tokens_PMD: torch.Tensor, decoder: Decoder, at_PMW: torch.Tensor, anywhere_PW: torch.Tensor
    ) -> torch.Tensor:
        """Loss per word that holds; -1 in the labels leaves a word out."""
        words_WD = (decoder.embed(self.ids_WL) * self.share_WL.unsqueeze(-1)).sum(1)
        likeness_PMW = F.normalize(tokens_PMD, dim=-1) @ F.normalize(words_WD, dim=-1).T
        logits_PMW = likeness_PMW * self.scale.exp() + self.bias
        return _loss(logits_PMW, at_PMW) + _loss(logits_PMW.amax(1), anywhere_PW)


def _loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    known = labels != UNKNOWN
    targets = labels[known].to(logits)
    loss = F.binary_cross_entropy_with_logits(logits[known], targets, reduction="sum")
    return loss / targets.sum().clamp(min=1)
