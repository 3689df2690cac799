"""What the engine is asked, what it remembers meanwhile, and what it answers."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

import torch


@dataclass(frozen=True)
class SamplingParams:
    """How the next token is chosen; temperature 0 takes the likeliest, top_k 0 keeps all."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    max_tokens: int = 256
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0

    @property
    def penalised(self) -> bool:
        return (self.repetition_penalty, self.frequency_penalty, self.presence_penalty) != (1.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Request:
    """A prompt in tokens, ready to run.

    embeddings_TD: the whole prompt embedded, only when it holds media; spans: media tokens that see each
    other both ways; salts: token index -> what else the keys and values from there on depend on.
    Times are those of `time.monotonic`.
    """

    request_id: str
    token_ids: list[int]
    sampling: SamplingParams = SamplingParams()
    embeddings_TD: torch.Tensor | None = None
    spans: tuple[tuple[int, int], ...] = ()
    salts: Mapping[int, bytes] = field(default_factory=dict)
    cache_salt: str = ""
    priority: int = 0
    arrival: float = field(default_factory=time.monotonic)
    deadline: float | None = None

    @property
    def max_length(self) -> int:
        """Tokens of prompt and longest answer together."""
        return len(self.token_ids) + self.sampling.max_tokens


class Sequence:
    """A request under way: its tokens, its blocks, and how far its keys and values are computed."""

    def __init__(self, request: Request):
        self.request = request
        self.token_ids = list(request.token_ids)
        self.block_table: list[int] = []
        self.block_hashes: list[bytes] = []
        self.computed = 0
        self.sealed_blocks = 0
        self.cached_tokens = 0
        self.started_at: float | None = None
        self.steps = 0
        self.random = random.Random(request.sampling.seed)

    @property
    def rank(self) -> tuple[int, float]:
        """Lower runs first and is preempted last."""
        return -self.request.priority, self.request.arrival

    @property
    def generated(self) -> int:
        return len(self.token_ids) - len(self.request.token_ids)

    @property
    def uncomputed(self) -> int:
        return len(self.token_ids) - self.computed

    def span_across(self, position: int) -> tuple[int, int] | None:
        """The media span that a cut before `position` would split."""
        return next((span for span in self.request.spans if span[0] < position < span[1]), None)


class FinishReason(Enum):
    """Why a sequence ended."""

    STOP = auto()
    LENGTH = auto()
    CANCELLED = auto()
    DEADLINE = auto()
    FAILED = auto()


@dataclass(frozen=True)
class Token:
    """One more token of the answer."""

    request_id: str
    token_id: int


@dataclass(frozen=True)
class Finished:
    """The one terminal event of a request."""

    request_id: str
    reason: FinishReason
    cached_tokens: int
    completion_tokens: int
    steps: int
    queue_seconds: float


Event = Token | Finished
