"""What answers under way feel of pictures that arrive: time between tokens, with pictures and without.

Pictures come at random moments, at half the rate that the server can answer at most when it does nothing
else; where text and pictures share the cores, that may be more than it can answer beside. Stretches with
and without alternate, because a shared machine's speed drifts.
"""

import asyncio
import statistics
from collections.abc import Awaitable
from dataclasses import dataclass
from itertools import count

from benchmarks.client import Client, Reply
from benchmarks.errors import BenchmarkError
from benchmarks.pace import closed_loop, hold, open_loop
from benchmarks.report import Row, spread, spread_ms
from benchmarks.traces import chat, sessions

QUESTION_LENGTH = 32
PICTURE_OPTIONS = {"max_tokens": 1, "temperature": 0.0}
SATURATING = 8  # pictures at a time


@dataclass(frozen=True)
class Plan:
    """`users` ask one question after the other; `pictures` arrive in each stretch that has some."""

    users: int = 4
    pictures: int = 20
    rounds: int = 3
    answer_tokens: int = 128
    seed: int = 0


@dataclass(frozen=True)
class Stretch:
    """The answers of one stretch, and the pictures that came meanwhile."""

    answers: list[Reply]
    pictures: list[Reply]

    @property
    def pauses(self) -> list[float]:
        """Time between one token of an answer and the next, of all answers."""
        return [pause for reply in self.answers for pause in reply.pauses]

    @property
    def p99_ms(self) -> float:
        return float(spread([pause * 1e3 for pause in self.pauses], 99)["p99"])


async def measure(url: str, plan: Plan) -> tuple[list[Row], Row]:
    """A row without pictures and one with; and the rates, and the median ratio of the rounds' p99."""
    seeds = count(1000 * plan.seed)
    async with Client(url) as client:
        await _saturate(client, SATURATING, next(seeds))
        per_second = (await _saturate(client, 3 * SATURATING, next(seeds))) / 2
        rounds = [
            (
                await _stretch(client, plan, next(seeds), asyncio.sleep(plan.pictures / per_second, [])),
                await _stretch(client, plan, next(seeds), _arrivals(client, plan, next(seeds), per_second)),
            )
            for _ in range(plan.rounds)
        ]
    without, beside = zip(*rounds, strict=True)
    rows = [_row("no pictures", without), _row("pictures arrive", beside)]
    ratio = statistics.median(b.p99_ms / a.p99_ms for a, b in rounds)
    return rows, {"pictures_per_s": round(per_second, 2), "p99_ratio": round(ratio, 2)}


async def _saturate(client: Client, pictures: int, seed: int) -> float:
    """Pictures per second when there are always some waiting."""
    asked = sessions("picture", pictures, QUESTION_LENGTH, seed)
    run = await closed_loop(client, asked, SATURATING, **PICTURE_OPTIONS)
    if len(run.answered) < pictures:
        raise BenchmarkError(f"Pictures were not answered: {dict(run.outcomes)}")
    return pictures / run.seconds


async def _arrivals(client: Client, plan: Plan, seed: int, per_second: float) -> list[Reply]:
    asked = sessions("picture", plan.pictures, QUESTION_LENGTH, seed)
    run = await open_loop(client, asked, per_second, seed, **PICTURE_OPTIONS)
    return [reply for replies in run.replies for reply in replies]


async def _stretch(client: Client, plan: Plan, seed: int, meanwhile: Awaitable[list[Reply]]) -> Stretch:
    """Text answers without a pause until something else is over."""
    questions, over = chat(QUESTION_LENGTH, seed), asyncio.Event()
    options = {"max_tokens": plan.answer_tokens, "temperature": 0.0}
    answers: list[Reply] = []

    async def one_user() -> None:
        while not over.is_set():
            answers.extend(await hold(client, next(questions), **options))

    async with asyncio.TaskGroup() as users:
        for _ in range(plan.users):
            users.create_task(one_user())
        pictures = await meanwhile
        over.set()
    if not any(reply.pauses for reply in answers):
        raise BenchmarkError(f"There is no answer to watch: {answers[0].status} {answers[0].error}")
    return Stretch(answers, pictures)


def _row(name: str, stretches: tuple[Stretch, ...]) -> Row:
    answers = [reply for stretch in stretches for reply in stretch.answers]
    pictures = [reply for stretch in stretches for reply in stretch.pictures]
    return {
        "stretches": name,
        "answers": len(answers),
        "failed_answers": sum(reply.outcome != "answered" for reply in answers),
        **spread_ms("pause", [pause for stretch in stretches for pause in stretch.pauses], 50, 95, 99),
        "pictures": len(pictures),
        "failed_pictures": sum(reply.outcome != "answered" for reply in pictures),
        **spread_ms("picture_ttft", [reply.first_token_s for reply in pictures if reply.piece_s], 50, 99),
    }
