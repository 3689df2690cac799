"""What the engine is asked, what it remembers meanwhile, and what it answers."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

import torch

from services.llm.engine.lookup import Lookup

PRIORITY_SECONDS = 30.0
"""Head start that one level of priority gives; so whoever has waited long enough comes first in the end."""


class PositionsMissing(ValueError):
    """A delta for what follows a prompt whose own positions were not given."""


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
    top_logprobs: int | None = None
    """Likeliest alternatives told with each token; None tells no log-probabilities at all."""

    @property
    def penalised(self) -> bool:
        return (self.repetition_penalty, self.frequency_penalty, self.presence_penalty) != (1.0, 0.0, 0.0)


RANGES = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "top_k": (0, 2**31 - 1),
    "max_tokens": (1, 2**31 - 1),
    "repetition_penalty": (float(torch.tensor(0.01)), 10.0),  # as the contract's float holds it
    "frequency_penalty": (-2.0, 2.0),
    "presence_penalty": (-2.0, 2.0),
    "top_logprobs": (0, 20),
}
"""What the numbers among them may be."""


@dataclass(frozen=True, eq=False)
class Request:
    """A prompt in tokens, ready to run.

    embeddings_TD: the whole prompt embedded, only when it holds media; spans: media tokens that see each
    other both ways, so that no step may cut them (media that are read causally need none); positions: int64
    [3, T], time, height and width of each prompt token (M-RoPE), None counts 0, 1, 2 ...; position_delta:
    what generated tokens add to their index, with `positions` alone; salts: token index -> what else the keys
    and values from there on depend on. Times are those of `time.monotonic`.
    """

    request_id: str
    token_ids: list[int]
    sampling: SamplingParams = SamplingParams()
    embeddings_TD: torch.Tensor | None = None
    spans: tuple[tuple[int, int], ...] = ()
    positions: torch.Tensor | None = None
    position_delta: int = 0
    salts: Mapping[int, bytes] = field(default_factory=dict)
    cache_salt: str = ""
    priority: int = 0
    arrival: float = field(default_factory=time.monotonic)
    deadline: float | None = None

    def __post_init__(self) -> None:
        if self.position_delta and self.positions is None:
            raise PositionsMissing(f"position_delta is {self.position_delta}, and there are no positions")

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
        self.expired_blocks = 0
        self.cached_tokens = 0
        self.started_at: float | None = None
        self.token_at: float | None = None
        self.steps = 0
        self.lookup = Lookup()
        self.random = random.Random(request.sampling.seed)

    @property
    def rank(self) -> float:
        """Lower runs first and is preempted last."""
        return self.request.arrival - PRIORITY_SECONDS * self.request.priority

    @property
    def queue_seconds(self) -> float:
        """From arrival to the first chunk, or until now."""
        return (time.monotonic() if self.started_at is None else self.started_at) - self.request.arrival

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
class Logprobs:
    """How likely a token was, and the likeliest ones with theirs, best first; natural logarithms."""

    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Sampled:
    """What a step adds to one sequence: the drafts it confirmed, and the token after them."""

    tokens: list[int]
    logprobs: list[Logprobs] = field(default_factory=list)
    """One per token where the request asks for them, else none."""


@dataclass(frozen=True)
class Token:
    """One more token of the answer."""

    request_id: str
    token_id: int
    logprobs: Logprobs | None = None


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
