"""What is trained, and the losses that train it; why each of them, see `train.py`."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from services.speech.model.decoder import BOUNDARY
from services.speech.model.recogniser import RecogniserModel
from services.speech.model.streaming import StreamingBranch, chunk_mask
from services.speech.vocabulary import Vocabulary
from training.speech.batches import Batch
from training.speech.collage import Collage
from training.speech.head import SharedHead
from training.speech.reading import NOTHING, read_texts, written_and_wanted
from training.speech.syllables import Syllables

UNBOUNDED = 1_000


@dataclass(frozen=True)
class Recipe:
    """Weights of the losses, and learning rates."""

    read: float = 1.0
    characters: float = 0.7
    syllables: float = 0.2
    unspoken: float = 0.5
    states: float = 2.0
    ctc_into_states: float = 0.3
    """Share of the CTC gradient that reaches the encoder's blocks: all of it drowns the decoder's."""
    rate_branch: float = 3e-4
    rate_head: float = 1e-3
    rate_own: float = 2e-4
    weight_decay: float = 1e-2
    clip: float = 2.0


class Learner(nn.Module):
    """What is trained: the branch, and the two heads."""

    def __init__(self, model: RecogniserModel, vocabulary: Vocabulary) -> None:
        super().__init__()
        if model.streaming is None:
            raise ValueError("the model has no streaming branch")
        self.branch = model.streaming
        self.syllables = Syllables.of(vocabulary.characters)
        self.head = SharedHead(model.decoder, self.syllables)
        self.syllable_head = nn.Linear(model.config.hidden_size, len(self.syllables.index) + 1)
        self.collage = Collage()

    @torch.no_grad()
    def take_up(self, characters: Sequence[str]) -> None:
        """Starts from the branch's own head; a syllable, from the characters that are read so."""
        weight_VD, bias_V = self.branch.head.weight, self.branch.head.bias
        self.head.unfold(weight_VD, bias_V)
        rows: defaultdict[int, list[int]] = defaultdict(list)
        for row, character in enumerate(characters):
            for syllable in self.syllables.classes(character) or ():
                rows[syllable].append(row)
        for syllable, alike in {BOUNDARY: [BOUNDARY], **rows}.items():
            self.syllable_head.weight[syllable] = weight_VD[alike].mean(0)
            self.syllable_head.bias[syllable] = bias_V[alike].logsumexp(0)

    def fold(self) -> StreamingBranch:
        """The branch with its head made whole, as the service runs it."""
        weight_VD, bias_V = self.head()
        with torch.no_grad():
            self.branch.head.weight.copy_(weight_VD)
            self.branch.head.bias.copy_(bias_V)
        return self.branch


def losses_of(
    model: RecogniserModel,
    learner: Learner,
    vocabulary: Vocabulary,
    batch: Batch,
    chunk_frames: int,
    recipe: Recipe,
    unspoken: list[tuple[str, torch.Tensor]],
) -> dict[str, torch.Tensor]:
    """The weighted losses of one batch, and of texts that are there as states alone."""
    left_chunks = learner.branch.config.left_chunks
    if batch.whole:
        chunk_frames, left_chunks = UNBOUNDED, 0
    real_B11S = batch.mask_B11S
    mask = chunk_mask(real_B11S.shape[-1], chunk_frames, left_chunks, real_B11S)
    states_BSD = learner.branch.forward_masked(model.encoder, batch.features_BTM, mask)
    ids = [vocabulary.ids(text) or [] for text in batch.texts]
    losses = {"read": recipe.read * _reading_loss(model, states_BSD, real_B11S, ids)}
    context_BSD = learner.branch.context_masked(soften(states_BSD, recipe.ctc_into_states), mask)
    head = learner.head()
    logits_BSV = F.linear(context_BSD, *head)
    losses["characters"] = recipe.characters * _ctc(logits_BSV, batch.frames_B, ids)
    classes = [learner.syllables.classes(text) or [] for text in batch.texts]
    losses["syllables"] = recipe.syllables * _ctc(learner.syllable_head(context_BSD), batch.frames_B, classes)
    logs_BSV = logits_BSV.detach().float().log_softmax(-1)
    for row, (text, frames) in enumerate(zip(batch.texts, batch.frames_B.tolist(), strict=True)):
        heard_SD = states_BSD.detach()[row, :frames].float()
        learner.collage.learn(text, ids[row], heard_SD, logs_BSV[row, :frames])
    if unspoken:
        losses["unspoken"] = recipe.unspoken * _unspoken_loss(
            learner, vocabulary, unspoken, chunk_frames, head
        )
    if batch.real_B.any():
        with torch.no_grad():
            target_BSD = model.encoder(batch.clean_BTM, real_B11S)
        trusted_BS = real_B11S[:, 0, 0] & batch.real_B[:, None]
        losses["states"] = recipe.states * F.mse_loss(states_BSD[trusted_BS], target_BSD[trusted_BS])
    return losses


def _unspoken_loss(
    learner: Learner,
    vocabulary: Vocabulary,
    unspoken: list[tuple[str, torch.Tensor]],
    chunk_frames: int,
    head: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    states = [states_SD for _, states_SD in unspoken]
    frames_B = torch.tensor([len(own) for own in states])
    states_BSD = nn.utils.rnn.pad_sequence(states, batch_first=True)
    real_B11S = (torch.arange(states_BSD.shape[1]) < frames_B[:, None])[:, None, None]
    mask = chunk_mask(states_BSD.shape[1], chunk_frames, learner.branch.config.left_chunks, real_B11S)
    logits_BSV = F.linear(learner.branch.context_masked(states_BSD, mask), *head)
    return _ctc(logits_BSV, frames_B, [vocabulary.ids(text) or [] for text, _ in unspoken])


def soften(x: torch.Tensor, share: float) -> torch.Tensor:
    """The same, but only a share of the gradient goes back."""
    return x * share + x.detach() * (1 - share)


def _reading_loss(
    model: RecogniserModel, states_BSD: torch.Tensor, real_B11S: torch.Tensor, ids: list[list[int]]
) -> torch.Tensor:
    written_BN, wanted_BN = written_and_wanted(ids)
    logits_BNV = read_texts(model, written_BN, states_BSD, real_B11S)
    return F.cross_entropy(logits_BNV.flatten(0, 1), wanted_BN.flatten(), ignore_index=NOTHING)


def _ctc(logits_BSV: torch.Tensor, frames_B: torch.Tensor, ids: list[list[int]]) -> torch.Tensor:
    lengths = torch.tensor([len(text) for text in ids])
    targets = torch.tensor([character for text in ids for character in text])
    logs_SBV = logits_BSV.float().log_softmax(-1).transpose(0, 1)
    return F.ctc_loss(logs_SBV, targets, frames_B, lengths, blank=BOUNDARY, zero_infinity=True)
