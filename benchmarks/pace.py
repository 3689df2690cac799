"""How sessions are sent: so many at a time (closed loop), or at random moments come what may (open loop)."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.client import Client, Reply, assistant
from benchmarks.traces import Session

OUTCOMES = ("answered", "refused", "lost")


@dataclass(frozen=True)
class Run:
    """What came of sessions: the replies of each, in the order of the sessions, and how long all took."""

    sessions: Sequence[Session]
    replies: Sequence[Sequence[Reply]]
    seconds: float

    @property
    def answered(self) -> list[Reply]:
        """Replies that reached their end."""
        return [reply for replies in self.replies for reply in replies if reply.outcome == "answered"]

    @property
    def tokens_per_second(self) -> float:
        """Tokens of whole answers, over the time of all."""
        return sum(reply.tokens for reply in self.answered) / self.seconds

    @property
    def outcomes(self) -> Counter[str]:
        """How every turn ended; `unasked` are those whose session broke off before."""
        counts = Counter(reply.outcome for replies in self.replies for reply in replies)
        counts["unasked"] = sum(len(session.turns) for session in self.sessions) - counts.total()
        return counts


async def closed_loop(client: Client, sessions: Sequence[Session], at_once: int, **options: Any) -> Run:
    """Each of `at_once` users holds one session after the other."""
    waiting, replies = iter(enumerate(sessions)), [[Reply()] for _ in sessions]

    async def one_user() -> None:
        for index, session in waiting:
            replies[index] = await hold(client, session, **options)

    started = time.monotonic()
    await asyncio.gather(*(one_user() for _ in range(at_once)))
    return Run(sessions, replies, time.monotonic() - started)


async def open_loop(
    client: Client, sessions: Sequence[Session], per_second: float, seed: int, **options: Any
) -> Run:
    """Sessions begin in a Poisson process, and none waits for another."""
    draw, held = random.Random(seed), []
    started = due = time.monotonic()
    for session in sessions:
        due += draw.expovariate(per_second)
        await asyncio.sleep(due - time.monotonic())
        held.append(asyncio.create_task(hold(client, session, **options)))
    replies = await asyncio.gather(*held)
    return Run(sessions, replies, time.monotonic() - started)


async def hold(client: Client, session: Session, **options: Any) -> list[Reply]:
    """Turn after turn, until one is not answered."""
    messages, replies = session.opening, []
    for turn in session.turns:
        reply = await client.ask(*messages, turn, **options)
        replies.append(reply)
        if reply.outcome != "answered":
            break
        messages += [turn, assistant(reply.text)]
    return replies
