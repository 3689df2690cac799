"""Hearing while somebody speaks: the encoder in chunks, adapters and causal convolutions on its blocks.

With the branch each block is a Conformer block (https://arxiv.org/abs/2005.08100) whose attention sees its
own chunk and a bounded past; without it the encoder is untouched. Blocks of the branch's own and a CTC head
follow. Caches go in and come out (`StreamState`), and many streams share one forward.
B streams, T feature frames, S encoder frames, P remembered frames, M mel bands, L layers, D width,
V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from services.speech.model.config import SpeechConfig, StreamingConfig
from services.speech.model.conformer import ConformerBlock, Memory
from services.speech.model.encoder import SUBSAMPLING, EncoderBlock, SpeechEncoder, positions, subsampled
from services.speech.model.layers import KeyValue
from services.speech.model.running import RunningLevels

FRONT_OVERLAP = 3
"""Feature frames that the convolutional front looks ahead: chunks overlap by them."""


@dataclass(frozen=True)
class StreamState:
    """What one utterance has left behind."""

    levels: RunningLevels
    overlap_TM: torch.Tensor
    """Normalised feature frames that the next chunk begins with."""
    keys_LHPD: torch.Tensor
    values_LHPD: torch.Tensor
    inputs_LKD: torch.Tensor
    """What the causal convolutions see before the next frame."""
    position: int = 0
    """Encoder frames heard."""


@dataclass(frozen=True)
class Heard:
    """A stretch of one utterance: states that the decoder understands, log-probabilities of the CTC head."""

    states_SD: torch.Tensor
    log_probabilities_SV: torch.Tensor


class StreamingBranch(nn.Module):
    """Everything the first pass adds to the encoder."""

    prior_mean_M: torch.Tensor
    prior_spread_M: torch.Tensor

    def __init__(self, config: SpeechConfig, streaming: StreamingConfig):
        super().__init__()
        self.config = streaming
        self.heads = config.heads
        width = config.hidden_size
        self.blocks = nn.ModuleList(
            ConformerBlock(width, config.feed_forward, streaming.kernel_size, streaming.adapter_rank)
            for _ in range(config.encoder_layers)
        )
        self.context_bases = nn.ModuleList(EncoderBlock(config) for _ in range(streaming.context_layers))
        self.context_blocks = nn.ModuleList(
            ConformerBlock(width, config.feed_forward, streaming.kernel_size, rank=0)
            for _ in range(streaming.context_layers)
        )
        self.head = nn.Linear(width, config.vocabulary_size)
        self.register_buffer("prior_mean_M", torch.zeros(config.features.mel_bins))
        self.register_buffer("prior_spread_M", torch.ones(config.features.mel_bins))

    @property
    def layers(self) -> int:
        """The encoder's blocks and the branch's own."""
        return len(self.blocks) + len(self.context_blocks)

    def chunk_features(self, state: StreamState) -> int:
        """Feature frames that make the stream's next full chunk."""
        return self.config.chunk_frames * SUBSAMPLING + (0 if state.position else FRONT_OVERLAP)

    def start(self) -> StreamState:
        """The state of an utterance of which nothing has been heard."""
        nothing, width = self.head.weight.new_zeros, self.head.in_features
        return StreamState(
            levels=RunningLevels.start(self.prior_mean_M, self.prior_spread_M, self.config.prior_frames),
            overlap_TM=nothing(0, len(self.prior_mean_M)),
            keys_LHPD=nothing(self.layers, self.heads, 0, width // self.heads),
            values_LHPD=nothing(self.layers, self.heads, 0, width // self.heads),
            inputs_LKD=nothing(self.layers, self.config.kernel_size - 1, width),
        )

    def forward_chunk(
        self, encoder: SpeechEncoder, chunks: Sequence[torch.Tensor], states: Sequence[StreamState]
    ) -> tuple[list[Heard], list[StreamState]]:
        """Hears the next chunk of each stream: levels in dB [T, M] as `LogMel` gives them.

        Every chunk but an utterance's last is full (`chunk_features`); the last may be too short for a frame.
        """
        levels, features = [], []
        for chunk_TM, state in zip(chunks, states, strict=True):
            normalised_TM, after = state.levels.normalise(chunk_TM)
            levels.append(after)
            features.append(torch.cat([state.overlap_TM, normalised_TM]))
        counts = [max(0, subsampled(len(frames_TM))) for frames_TM in features]
        longest = max(counts)
        most = self.config.chunk_frames
        if longest > most:
            raise ValueError(f"a chunk of {longest} frames; the branch hears {most} at once")
        if longest == 0:
            return [self._silence()] * len(states), list(states)
        x_BSD = self._embed(encoder, features, [state.position for state in states], longest)
        memories, remembered_BP = _join(states)
        real_BS = torch.arange(longest) < torch.tensor(counts)[:, None]
        mask_B11T = torch.cat([remembered_BP, real_BS], 1).to(x_BSD.device)[:, None, None]
        states_BSD = self._encode(encoder, x_BSD, memories, mask_B11T)
        logs_BSV = self.head(self._contextualise(states_BSD, memories, mask_B11T)).log_softmax(-1)
        heard = [Heard(states_BSD[row, :n], logs_BSV[row, :n]) for row, n in enumerate(counts)]
        left = self._leave(states, levels, features, counts, memories)
        return heard, left

    def forward_masked(
        self, encoder: SpeechEncoder, features_BTM: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """The states of whole utterances in one go, their features already normalised; see `chunk_mask`."""
        memories = [self._empty(len(features_BTM)) for _ in range(self.layers)]
        return self._encode(encoder, encoder.embed(features_BTM), memories, mask)

    def context_masked(self, states_BSD: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What the branch's own blocks make of the states of whole utterances, for the head: [B, S, D]."""
        memories = [self._empty(len(states_BSD)) for _ in range(self.layers)]
        return self._contextualise(states_BSD, memories, mask)

    def _encode(
        self, encoder: SpeechEncoder, x_BSD: torch.Tensor, memories: list[Memory], mask: torch.Tensor
    ) -> torch.Tensor:
        """The encoder's blocks; each memory grows by the frames heard."""
        for index, (base, block) in enumerate(zip(encoder.blocks, self.blocks, strict=True)):
            x_BSD, memories[index] = block(base, x_BSD, memories[index], mask)
        return x_BSD

    def _contextualise(self, x_BSD: torch.Tensor, memories: list[Memory], mask: torch.Tensor) -> torch.Tensor:
        """The branch's own blocks, with the memories behind those of the encoder's."""
        own = zip(self.context_bases, self.context_blocks, strict=True)
        for index, (base, block) in enumerate(own, len(self.blocks)):
            x_BSD, memories[index] = block(base, x_BSD, memories[index], mask)
        return x_BSD

    def _embed(
        self, encoder: SpeechEncoder, features: list[torch.Tensor], places: list[int], longest: int
    ) -> torch.Tensor:
        needed = longest * SUBSAMPLING + FRONT_OVERLAP
        padded_BTM = torch.stack(
            [nn.functional.pad(rows_TM, (0, 0, 0, needed - len(rows_TM)))[:needed] for rows_TM in features]
        )
        x_BSD = encoder.front(padded_BTM) * encoder.width**0.5
        return x_BSD + torch.stack([positions(longest, encoder.width, place) for place in places]).to(x_BSD)

    def _leave(
        self,
        states: Sequence[StreamState],
        levels: list[RunningLevels],
        features: list[torch.Tensor],
        counts: list[int],
        memories: list[Memory],
    ) -> list[StreamState]:
        keys_LBHTD = torch.stack([memory.past.keys for memory in memories])
        values_LBHTD = torch.stack([memory.past.values for memory in memories])
        inputs_LBTD = torch.stack([memory.inputs_BTD for memory in memories])
        joined = keys_LBHTD.shape[3] - max(counts)
        kept_inputs = self.config.kernel_size - 1
        left = []
        for row, (state, count) in enumerate(zip(states, counts, strict=True)):
            remembered = min(
                state.keys_LHPD.shape[2] + count, self.config.left_chunks * self.config.chunk_frames
            )
            past = slice(joined + count - remembered, joined + count)
            left.append(
                StreamState(
                    levels=levels[row],
                    overlap_TM=features[row][count * SUBSAMPLING :],
                    keys_LHPD=keys_LBHTD[:, row, :, past].clone(),
                    values_LHPD=values_LBHTD[:, row, :, past].clone(),
                    inputs_LKD=inputs_LBTD[:, row, count : count + kept_inputs].clone(),
                    position=state.position + count,
                )
            )
        return left

    def _empty(self, streams: int) -> Memory:
        nothing, width = self.head.weight.new_zeros, self.head.in_features
        none = nothing(streams, self.heads, 0, width // self.heads)
        return Memory(KeyValue(none, none), nothing(streams, self.config.kernel_size - 1, width))

    def _silence(self) -> Heard:
        nothing = self.head.weight.new_zeros
        return Heard(nothing(0, self.head.in_features), nothing(0, self.head.out_features))


def chunk_mask(
    frames: int, chunk_frames: int, left_chunks: int, real_B11S: torch.Tensor | None = None
) -> torch.Tensor:
    """What each frame of a whole utterance may attend to when it is heard in chunks: [S, S] or [B, 1, S, S].

    real_B11S says which frames are, where utterances differ in length.
    """
    chunk_S = torch.arange(frames) // chunk_frames
    ago_SS = chunk_S[:, None] - chunk_S
    mask_SS = (ago_SS >= 0) & (ago_SS <= left_chunks)
    return mask_SS if real_B11S is None else mask_SS.to(real_B11S.device) & real_B11S


def _join(states: Sequence[StreamState]) -> tuple[list[Memory], torch.Tensor]:
    """The caches of all streams by layer, padded at the front; and where they are real [B, P]."""
    lengths = torch.tensor([state.keys_LHPD.shape[2] for state in states])
    longest = int(lengths.max())
    keys_BLHPD = torch.stack([_padded(state.keys_LHPD, longest) for state in states])
    values_BLHPD = torch.stack([_padded(state.values_LHPD, longest) for state in states])
    inputs_BLKD = torch.stack([state.inputs_LKD for state in states])
    memories = [
        Memory(KeyValue(keys_BLHPD[:, layer], values_BLHPD[:, layer]), inputs_BLKD[:, layer])
        for layer in range(keys_BLHPD.shape[1])
    ]
    return memories, torch.arange(longest) >= longest - lengths[:, None]


def _padded(cache_LHPD: torch.Tensor, length: int) -> torch.Tensor:
    return nn.functional.pad(cache_LHPD, (0, 0, length - cache_LHPD.shape[2], 0))
