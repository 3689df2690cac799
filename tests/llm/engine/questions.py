"""Prompts for the engine, and the plain dense pass that it is held against."""

import random
import time

import torch

from services.llm.engine.engine import Engine, EngineConfig
from services.llm.engine.request import Event, Finished, Request, SamplingParams, Token
from services.llm.model.attention import DenseAttention, prefix_mask
from services.llm.model.decoder import Decoder
from services.llm.model.fusion import GatingUnit, Modality, fuse
from services.llm.prompt import Media, Message, Role, Text, lay_out
from services.llm.tokenizer import Tokenizer

PICTURE_TOKENS = 9
NEVER = 10_000  # steps after which a test gives up


class Questions:
    """Builds requests over a tiny backbone; pictures are random embeddings drawn by their key."""

    def __init__(self, tokenizer: Tokenizer, decoder: Decoder, gate: GatingUnit | None):
        self._tokenizer, self._decoder, self._gate = tokenizer, decoder, gate

    def ask(self, name: str, *turns: str | bytes, max_tokens: int = 12, cache_salt: str = "") -> Request:
        """Turns alternate, the user first; bytes name a picture that stands before the text that follows."""
        messages: list[Message] = []
        parts: list[Text | Media] = []
        for turn in turns:
            if isinstance(turn, bytes):
                parts.append(Media(Modality.IMAGE, PICTURE_TOKENS, turn))
                continue
            role = (Role.USER, Role.ASSISTANT)[len(messages) % 2]
            messages.append(Message(role, (*parts, Text(turn))))
            parts = []
        prompt = lay_out(messages, self._tokenizer)
        x_TD = self._decoder.embed(torch.tensor(prompt.token_ids))
        for span in prompt.spans:
            drawn = torch.Generator().manual_seed(int.from_bytes(span.media.key))
            x_TD[span.start : span.end] = torch.randn(PICTURE_TOKENS, x_TD.shape[1], generator=drawn)
        fuse(self._gate, x_TD, prompt.pieces)
        return Request(
            name,
            prompt.token_ids,
            SamplingParams(max_tokens=max_tokens),
            embeddings_TD=x_TD if prompt.spans else None,
            spans=tuple((span.start, span.end) for span in prompt.spans),
            salts=prompt.salts,
            cache_salt=cache_salt,
            arrival=time.monotonic(),
        )

    def mixed(self, count: int, seed: int) -> list[Request]:
        """Texts and pictures of all lengths."""
        rng = random.Random(seed)
        requests = []
        for index in range(count):
            turns: list[str | bytes] = []
            for _ in range(rng.choice((1, 1, 3))):
                if len(turns) % 2 == 0 and rng.random() < 0.5:
                    turns += [bytes([rng.randrange(4)]) for _ in range(rng.choice((1, 2)))]
                turns.append("".join(rng.choices("abc 你好", k=rng.randrange(1, 60))))
            requests.append(self.ask(f"q{index}", *turns, max_tokens=rng.randrange(1, 24)))
        return requests


@torch.inference_mode()
def plain_answer(decoder: Decoder, request: Request) -> list[int]:
    """Greedy answer by whole dense passes, end token included."""
    token_ids = list(request.token_ids)
    for _ in range(request.sampling.max_tokens):
        x_TD = decoder.embed(torch.tensor(token_ids))
        if request.embeddings_TD is not None:
            x_TD[: len(request.embeddings_TD)] = request.embeddings_TD
        model = decoder.config
        mask_TT = prefix_mask(len(token_ids), list(request.spans), model.sliding_window, model.global_tokens)
        hidden_TD = decoder(x_TD, _positions(request, len(token_ids)), DenseAttention(mask_TT))
        token_ids.append(int(decoder.logits(hidden_TD[-1]).argmax()))
        if token_ids[-1] in decoder.config.eos_token_ids:
            break
    return token_ids[len(request.token_ids) :]


def _positions(request: Request, length: int) -> torch.Tensor:
    """Of prompt and answer: plain ones, or the prompt's own and what follows from its delta."""
    if request.positions is None:
        return torch.arange(length)
    counted_T = torch.arange(request.positions.shape[1], length) + request.position_delta
    return torch.cat((request.positions, counted_T.expand(3, -1)), dim=1)


def told(decoder: Decoder, request: Request) -> list[int]:
    """The plain pass's answer as the engine tells it: without the end token."""
    answer = plain_answer(decoder, request)
    return answer[:-1] if answer[-1] in decoder.config.eos_token_ids else answer


class Bench:
    """An engine driven step by step, with everything it published."""

    def __init__(self, decoder: Decoder, config: EngineConfig):
        self.events: list[Event] = []
        self.engine = Engine(decoder, config, self.events.extend)

    def answer(self, requests: list[Request]) -> dict[str, list[int]]:
        """Runs the requests together to the end, and gives the tokens of each, without the end token."""
        for request in requests:
            self.engine.submit(request)
        self.run()
        return {request.request_id: self.tokens(request.request_id) for request in requests}

    def run(self) -> None:
        for _ in range(NEVER):
            if not self.engine.step():
                return
        raise TimeoutError("the engine did not come to an end")

    def tokens(self, request_id: str) -> list[int]:
        return [e.token_id for e in self.events if isinstance(e, Token) and e.request_id == request_id]

    def finished(self, request_id: str) -> Finished:
        """The terminal event; there is exactly one."""
        (event,) = (e for e in self.events if isinstance(e, Finished) and e.request_id == request_id)
        return event

    @property
    def all_blocks_free(self) -> bool:
        return self.engine.stats.free_blocks == self.engine.stats.total_blocks


def cache_of(decoder: Decoder, blocks: int, block_size: int = 16) -> int:
    """Bytes of a cache with that many blocks."""
    config = decoder.config
    per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4
    return blocks * block_size * per_token
