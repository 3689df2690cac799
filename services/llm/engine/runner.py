"""One pass of the decoder over the chunks of a step."""

import torch

from services.llm.engine.sampler import sample
from services.llm.engine.scheduler import Chunk
from services.llm.model.decoder import Decoder
from services.llm.model.paged import PagedAttention, PagedCache, Rows


class Runner:
    """Owns decoder and cache; knows chunks, but neither queue nor requests' fates."""

    def __init__(self, decoder: Decoder, cache: PagedCache):
        self._decoder, self._cache = decoder, cache
        self._device = decoder.embed_tokens.weight.device

    @torch.inference_mode()
    def run(self, chunks: list[Chunk]) -> list[int]:
        """Computes the chunks and gives the next token of each that completes its sequence, in order."""
        rows = [Rows(c.start, c.end, c.sequence.block_table, c.sequence.request.spans) for c in chunks]
        positions = [position for chunk in chunks for position in range(chunk.start, chunk.end)]
        positions_T = torch.tensor(positions, device=self._device)
        hidden_TD = self._decoder(self._embed(chunks), positions_T, PagedAttention(self._cache, rows))
        last_rows, end = [], 0
        for chunk in chunks:
            end += chunk.size
            if chunk.completes:
                last_rows.append(end - 1)
        if not last_rows:
            return []
        complete = [chunk.sequence for chunk in chunks if chunk.completes]
        return sample(self._decoder.logits(hidden_TD[last_rows]), complete)

    def _embed(self, chunks: list[Chunk]) -> torch.Tensor:
        """Embeddings of the chunks' tokens, [T, D]; prompts with media bring their own."""
        ids = [token for chunk in chunks for token in chunk.sequence.token_ids[chunk.start : chunk.end]]
        x_TD = self._decoder.embed(torch.tensor(ids, device=self._device))
        row = 0
        for chunk in chunks:
            prompt_TD = chunk.sequence.request.embeddings_TD
            if prompt_TD is not None and chunk.start < len(prompt_TD):
                part_TD = prompt_TD[chunk.start : chunk.end]
                x_TD[row : row + len(part_TD)] = part_TD.to(x_TD)
            row += chunk.size
        return x_TD
