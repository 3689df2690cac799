"""Self-critical fine-tuning (arXiv:1612.00563): captions are rewarded for CIDEr-D, others teach as before.

For each photo several captions are drawn, sometimes after a thought; one that scores above the mean of its
siblings becomes likelier, one below it less so. Every step also learns a mixed batch by cross-entropy, so
that no other skill is lost.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from services.llm.prompt import Message, Role, Text, lay_out
from services.llm.tokenizer import END_THINK, USER, Tokenizer
from training.cider import CiderD
from training.data.photos import Photo
from training.data.questions import DESCRIBE
from training.model import JointModel
from training.samples import PICTURE_FIRST, SampleBuilder
from training.scores import words
from training.vision.features import VIEWS

PHOTOS_PER_STEP = 12
DRAWS = 4
LONGEST, LONGEST_THOUGHT = 26, 20
THINKING = 0.2
CHINESE = DESCRIBE[:19]  # what asks for one Chinese sentence


@dataclass
class Growing:
    """Attention over a dense cache that grows with every call: R rows of equal length."""

    keys: dict[int, torch.Tensor] = field(default_factory=dict)
    values: dict[int, torch.Tensor] = field(default_factory=dict)
    mask_TT: torch.Tensor | None = None

    def __call__(
        self, layer: int, q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGK: torch.Tensor
    ) -> torch.Tensor:
        if layer in self.keys:
            k_TGK = torch.cat((self.keys[layer], k_TGK), dim=-3)
            v_TGK = torch.cat((self.values[layer], v_TGK), dim=-3)
        self.keys[layer], self.values[layer] = k_TGK, v_TGK
        q, k, v = (x.transpose(-3, -2) for x in (q_THK, k_TGK, v_TGK))
        mask = self.mask_TT if q.shape[-2] > 1 else None
        return F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True).transpose(-3, -2)


class SelfCritic:
    """Draws captions for batches of photos, and turns their scores into a loss."""

    def __init__(
        self,
        photos: Sequence[Photo],
        maps: Sequence[np.ndarray],
        tokenizer: Tokenizer,
        image_tokens: int,
        seed: int,
    ):
        self._maps = maps
        self._rows = [i for i, p in enumerate(photos) if p.kind == "scene" and p.split == "train"]
        self._reward = CiderD({row: list(map(words, photos[row].captions)) for row in self._rows})
        self._tokenizer, self._end = tokenizer, tokenizer.special(USER)
        self._end_think = tokenizer.special(END_THINK)
        self._picture = SampleBuilder.picture(image_tokens)
        self._rng = random.Random(seed)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, list[int]]]:
        """Endless batches: maps of the stem's frozen part, and the rows of their photos."""
        while True:
            order = self._rng.sample(self._rows, len(self._rows))
            for start in range(0, len(order) - PHOTOS_PER_STEP, PHOTOS_PER_STEP):
                chosen = order[start : start + PHOTOS_PER_STEP]
                maps = np.stack([self._maps[self._rng.randrange(VIEWS)][row] for row in chosen])
                yield torch.from_numpy(maps).float(), chosen

    def loss(
        self, model: JointModel, images_PMD: torch.Tensor, rows: Sequence[int]
    ) -> tuple[torch.Tensor, float]:
        """The loss to descend, and the mean reward of what was drawn."""
        question = Text(self._rng.choice(CHINESE))
        parts = (self._picture, question) if self._rng.random() < PICTURE_FIRST else (question, self._picture)
        thinks = self._rng.random() < THINKING
        prompt = lay_out([Message(Role.USER, parts)], self._tokenizer, enable_thinking=thinks)
        span = prompt.spans[0]
        ids_T = torch.tensor(prompt.token_ids, device=images_PMD.device)
        modality_T = torch.full_like(ids_T, -1)
        for piece in prompt.pieces:
            modality_T[piece.start : piece.end] = piece.modality
        x_TD = model.decoder.embed(ids_T) * model.embed_scale
        x_PTD = x_TD.expand(len(rows), -1, -1).clone()
        x_PTD[:, span.start : span.end] = images_PMD
        _, scales_PT = model.gate(x_PTD, modality_T.expand(len(rows), -1))
        x_RTD = (x_PTD * scales_PT.unsqueeze(-1)).repeat_interleave(DRAWS, dim=0)
        length = len(prompt.token_ids)
        mask_TT = torch.ones(length, length, dtype=torch.bool, device=ids_T.device).tril()
        mask_TT[span.start : span.end, span.start : span.end] = True
        with torch.no_grad():
            longest = LONGEST + thinks * LONGEST_THOUGHT
            drawn_RL = self._draw(model, x_RTD, mask_TT, longest)
        said = [self._caption(row, thinks=thinks) for row in drawn_RL.tolist()]
        drawn_for = [row for row in rows for _ in range(DRAWS)]
        scores = torch.tensor(
            [self._reward.score(row, words(text)) for row, text in zip(drawn_for, said, strict=True)]
        )
        grouped_PK = scores.view(-1, DRAWS)
        others_PK = (grouped_PK.sum(1, keepdim=True) - grouped_PK) / (DRAWS - 1)
        advantage_R = (grouped_PK - others_PK).flatten().to(x_RTD)
        log_probs_RL = self._log_probs(model, x_RTD, mask_TT, drawn_RL)
        lengths_R1 = torch.tensor([[_length(row, self._end) + 1] for row in drawn_RL.tolist()])
        counted_RL = torch.arange(drawn_RL.shape[1]) < lengths_R1
        loss = -(advantage_R.unsqueeze(1) * log_probs_RL)[counted_RL.to(x_RTD.device)].mean()
        return loss, float(scores.mean())

    def _caption(self, row: list[int], *, thinks: bool) -> str:
        """What was said before the end, after the thought; nothing where the thought did not end."""
        said = row[: _length(row, self._end)]
        return self._tokenizer.decode(said[_length(said, self._end_think) + 1 :] if thinks else said)

    def _draw(
        self, model: JointModel, x_RTD: torch.Tensor, mask_TT: torch.Tensor, longest: int
    ) -> torch.Tensor:
        """Tokens [R, L], drawn at temperature 1; what follows the end means nothing."""
        attend = Growing(mask_TT=mask_TT)
        rows, length = x_RTD.shape[:2]
        positions = torch.arange(length, device=x_RTD.device).expand(rows, -1)
        hidden = model.decoder(x_RTD, positions, attend)[:, -1]
        drawn: list[torch.Tensor] = []
        ended = torch.zeros(rows, dtype=torch.bool, device=x_RTD.device)
        for step in range(longest):
            token_R = model.decoder.logits(hidden).softmax(-1).multinomial(1)[:, 0]
            drawn.append(token_R)
            ended |= token_R == self._end
            if bool(ended.all()):
                break
            x_R1D = (model.decoder.embed(token_R) * model.embed_scale).unsqueeze(1)
            hidden = model.decoder(x_R1D, positions[:, :1] + length + step, attend)[:, -1]
        return torch.stack(drawn, dim=1)

    @staticmethod
    def _log_probs(
        model: JointModel, x_RTD: torch.Tensor, mask_TT: torch.Tensor, drawn_RL: torch.Tensor
    ) -> torch.Tensor:
        """Log-probability of every drawn token, [R, L]."""
        rows, length = x_RTD.shape[:2]
        total = length + drawn_RL.shape[1] - 1
        said = model.decoder.embed(drawn_RL[:, :-1]) * model.embed_scale
        mask = torch.ones(total, total, dtype=torch.bool, device=x_RTD.device).tril()
        mask[:length, :length] = mask_TT
        positions = torch.arange(total, device=x_RTD.device).expand(rows, -1)
        hidden = model.decoder(torch.cat((x_RTD, said), dim=1), positions, Growing(mask_TT=mask))
        log_probs = model.decoder.logits(hidden[:, length - 1 :]).float().log_softmax(-1)
        return log_probs.gather(-1, drawn_RL.unsqueeze(-1)).squeeze(-1)


def _length(row: Sequence[int], end: int) -> int:
    """Tokens before the end."""
    return row.index(end) if end in row else len(row)
