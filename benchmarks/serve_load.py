"""OpenAI endpoints under the same load: how fast, how soon, what failed, and whether they agree.

Endpoints take turns in every round, because a shared machine's speed drifts; a round's ratio is more to be
trusted than either number. Every round asks what no round has asked before, so that no cache knows it.
"""

import random
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from benchmarks.client import Client, Reply
from benchmarks.pace import OUTCOMES, Run, closed_loop, open_loop
from benchmarks.report import Row, spread_ms, tell
from benchmarks.traces import sessions

PERCENTS = (50, 95, 99)
WARM_UP_SEED = 1_000_000
SHORTEST_OPEN_LOOP = 8  # sessions


@dataclass(frozen=True)
class Endpoint:
    """A server to ask, and the model to name where it lists none."""

    name: str
    url: str
    model: str = ""


@dataclass(frozen=True)
class Load:
    """`at_once` users without a pause between their sessions, or sessions that begin `per_second`."""

    at_once: int = 0
    per_second: float = 0.0

    def __str__(self) -> str:
        return f"{self.at_once} at once" if self.at_once else f"{self.per_second:g}/s"


@dataclass(frozen=True)
class Plan:
    """What is asked and how often; `length` is that of a question in characters."""

    trace: str
    loads: Sequence[Load]
    rounds: int = 3
    sessions_per_user: int = 2
    open_loop_seconds: float = 20.0
    length: int = 32
    max_tokens: int = 128
    seed: int = 0

    def count(self, load: Load) -> int:
        """Sessions of one run."""
        if load.at_once:
            return self.sessions_per_user * load.at_once
        return max(SHORTEST_OPEN_LOOP, round(self.open_loop_seconds * load.per_second))


@dataclass(frozen=True)
class Report:
    """Tables: a row for each endpoint and load, for each pair compared, for each kind of failure."""

    speed: list[Row] = field(default_factory=list)
    latency: list[Row] = field(default_factory=list)
    parity: list[Row] = field(default_factory=list)
    failures: list[Row] = field(default_factory=list)


async def measure(endpoints: Sequence[Endpoint], plan: Plan) -> Report:
    """Raises BenchmarkError when an endpoint is not there; all that happens later is a row."""
    runs: dict[tuple[str, Load], list[Run]] = {}
    async with AsyncExitStack() as stack:
        clients = {
            endpoint.name: await stack.enter_async_context(Client(endpoint.url, endpoint.model))
            for endpoint in endpoints
        }
        for load in plan.loads:
            for client in clients.values():
                await _run(client, _short(plan), load, WARM_UP_SEED + plan.seed)
            for number in range(plan.rounds):
                for name in _rotated(list(clients), number):
                    run = await _run(clients[name], plan, load, plan.seed + number)
                    runs.setdefault((name, load), []).append(run)
                    tell(f"round {number + 1}, {load}, {name}: {run.tokens_per_second:.0f} tokens/s")
    report, first = Report(), endpoints[0].name
    for load in plan.loads:
        for name in clients:
            own, others = runs[name, load], runs[first, load]
            where: Row = {"endpoint": name, "load": str(load)}
            report.speed.append(where | _speed(own, others))
            report.latency.append(where | _latency(own))
            report.failures.extend(where | row for row in _failures(own))
            if name != first:
                report.parity.append(where | {"beside": first} | _parity(own, others))
    return report


async def _run(client: Client, plan: Plan, load: Load, seed: int) -> Run:
    drawn = random.Random(f"{seed} {load}").getrandbits(32)  # other questions at every load
    asked = sessions(plan.trace, plan.count(load), plan.length, drawn)
    options: dict[str, Any] = {"max_tokens": plan.max_tokens, "temperature": 0.0}
    if load.at_once:
        return await closed_loop(client, asked, load.at_once, **options)
    return await open_loop(client, asked, load.per_second, drawn, **options)


def _short(plan: Plan) -> Plan:
    """Enough to warm a server up."""
    return replace(plan, sessions_per_user=1, open_loop_seconds=0.0)


def _rotated(names: list[str], number: int) -> list[str]:
    """Each comes first, in the middle and last equally often."""
    turn = number % len(names)
    return names[turn:] + names[:turn]


def _speed(runs: Sequence[Run], first: Sequence[Run]) -> Row:
    outcomes = sum((run.outcomes for run in runs), Counter())
    rates = [run.tokens_per_second for run in runs]
    ratios = [a.tokens_per_second / b for a, b in zip(first, rates, strict=True) if b]
    return {
        **{outcome: outcomes[outcome] for outcome in (*OUTCOMES, "unasked")},
        "tokens_per_s": round(statistics.median(rates), 1),
        "slowest_round": round(min(rates), 1),
        "fastest_round": round(max(rates), 1),
        "first_is_times": round(statistics.median(ratios), 2) if ratios else 0.0,
    }


def _latency(runs: Sequence[Run]) -> Row:
    replies = [reply for run in runs for reply in run.answered]
    return {
        **spread_ms("ttft", [reply.first_token_s for reply in replies], *PERCENTS),
        **spread_ms("tpot", [reply.token_s for reply in replies], *PERCENTS),
        **spread_ms("pause", [pause for reply in replies for pause in reply.pauses], 99),
        "tokens": round(statistics.median([reply.tokens for reply in replies] or [0])),
    }


def _parity(runs: Sequence[Run], theirs: Sequence[Run]) -> Row:
    """How many answers are the same text; and of all, how much of the shorter one is common to both."""
    pairs = [
        pair
        for run, other in zip(runs, theirs, strict=True)
        for replies, others in zip(run.replies, other.replies, strict=True)
        for pair in zip(replies, others, strict=False)
        if all(reply.outcome == "answered" for reply in pair)
    ]
    shares = [_common_share(*pair) for pair in pairs]
    return {
        "compared": len(pairs),
        "identical": sum(a.text == b.text for a, b in pairs),
        "common_beginning_percent": round(100 * statistics.mean(shares or [0.0]), 1),
    }


def _common_share(a: Reply, b: Reply) -> float:
    same = takewhile(lambda pair: pair[0] == pair[1], zip(a.text, b.text, strict=False))
    return sum(1 for _ in same) / max(1, min(len(a.text), len(b.text)))


def _failures(runs: Sequence[Run]) -> Iterator[Row]:
    kinds = Counter(
        (reply.outcome, reply.status, str(reply.error.get("message") or "the stream broke off")[:60])
        for run in runs
        for replies in run.replies
        for reply in replies
        if reply.outcome != "answered"
    )
    for (outcome, status, message), count in kinds.items():
        yield {"outcome": outcome, "status": status, "count": count, "message": message}
