"""One pass of the decoder over the chunks of a step."""

import torch

from services.llm.engine.decode import DecodeSteps, can_decode
from services.llm.engine.fused import FusedSteps
from services.llm.engine.request import Sampled
from services.llm.engine.sampler import Ask, Sampler
from services.llm.engine.scheduler import Chunk
from services.llm.model.decoder import Decoder
from services.llm.model.fused import FusedDecoder, can_fuse
from services.llm.model.kernels import load_kernels
from services.llm.model.paged import PagedAttention, PagedCache, Rows


class Runner:
    """Owns decoder and cache; knows chunks, but neither queue nor requests' fates."""

    def __init__(self, decoder: Decoder, cache: PagedCache, static: bool | None = None):
        """`static`: decode over static buffers; None does so where they become graphs, and fused on a CPU."""
        self._decoder, self._cache = decoder, cache
        self._device = decoder.embed_tokens.weight.device
        self._sampler = Sampler()
        self.steps = _steps(decoder, cache, static)

    @torch.inference_mode()
    def run(self, chunks: list[Chunk]) -> list[Sampled]:
        """Computes the chunks and gives what follows each that completes its sequence, in order.

        A chunk with drafts is answered by as many tokens as its drafts proved right, and one more.
        """
        asks = [Ask(chunk.sequence, chunk.drafts) for chunk in chunks if chunk.completes]
        if self.steps and can_decode(chunks):
            return self._sampler.sample(self.steps.logits(chunks), asks)
        hidden_ND = self._pass(chunks)
        return self._sampler.sample(self._decoder.logits(hidden_ND), asks) if asks else []

    def _pass(self, chunks: list[Chunk]) -> torch.Tensor:
        """Hidden states that tokens follow from, [N, D]."""
        rows = [
            Rows(c.start, c.start + c.size, c.sequence.block_table, c.sequence.request.spans) for c in chunks
        ]
        attend = PagedAttention(self._cache, rows)
        hidden_TD: torch.Tensor = self._decoder(self._embed(chunks), self._positions(chunks), attend)
        asked: list[int] = []
        end = 0
        for chunk in chunks:
            end += chunk.size
            if chunk.completes:
                asked += range(end - len(chunk.drafts) - 1, end)
        return hidden_TD[asked]

    def _positions(self, chunks: list[Chunk]) -> torch.Tensor:
        """Where the chunks' tokens stand, [T], or [3, T] when one of them has M-RoPE positions."""
        if all(chunk.sequence.request.positions is None for chunk in chunks):
            places = [place for chunk in chunks for place in range(chunk.start, chunk.start + chunk.size)]
            return torch.tensor(places, device=self._device)
        return torch.cat([_positions_3T(chunk) for chunk in chunks], dim=1).to(self._device)

    def _embed(self, chunks: list[Chunk]) -> torch.Tensor:
        """Embeddings of the chunks' tokens, [T, D]; prompts with media bring their own."""
        ids = [token for chunk in chunks for token in chunk.token_ids]
        x_TD = self._decoder.embed(torch.tensor(ids, device=self._device))
        row = 0
        for chunk in chunks:
            prompt_TD = chunk.sequence.request.embeddings_TD
            if prompt_TD is not None and chunk.start < len(prompt_TD):
                part_TD = prompt_TD[chunk.start : chunk.end]
                x_TD[row : row + len(part_TD)] = part_TD.to(x_TD)
            row += chunk.size
        return x_TD


def _steps(decoder: Decoder, cache: PagedCache, static: bool | None) -> DecodeSteps | FusedSteps | None:
    """How sequences go on by one token each; None: as everything else does."""
    if static or (static is None and cache.device.type == "cuda"):
        return DecodeSteps(decoder, cache)
    if static is None and can_fuse(decoder, cache) and (kernels := load_kernels(cache.dtype)):
        return FusedSteps(FusedDecoder(decoder, cache, kernels))
    return None


def _positions_3T(chunk: Chunk) -> torch.Tensor:
    """Those the prompt brings, and beyond it the index plus the request's delta."""
    request, stop = chunk.sequence.request, chunk.start + chunk.size
    given = 0 if request.positions is None else request.positions.shape[1]
    counted_T = torch.arange(max(chunk.start, given), max(stop, given)) + request.position_delta
    counted_3T = counted_T.expand(3, -1)
    if request.positions is None:
        return counted_3T
    return torch.cat((request.positions[:, chunk.start : stop], counted_3T), dim=1)
