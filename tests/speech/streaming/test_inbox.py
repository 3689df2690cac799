"""Messages are read one ahead, drained for a while, and no longer than that."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from servicekit.errors import InvalidArgument
from services.speech.streaming.inbox import Inbox


class Client:
    """Sends numbers; counts how many were taken."""

    def __init__(self, count: int, pause_s: float = 0.0, *, stays: bool = False):
        self.taken = 0
        self._count, self._pause_s, self._stays = count, pause_s, stays

    async def messages(self) -> AsyncIterator[int]:
        for number in range(self._count):
            await asyncio.sleep(self._pause_s)
            self.taken += 1
            yield number
        if self._stays:
            await asyncio.Event().wait()


async def test_messages_come_in_order_and_then_none_for_ever() -> None:
    inbox = Inbox(Client(3).messages())
    assert [await inbox.next(1) for _ in range(5)] == [0, 1, 2, None, None]
    await inbox.close()


async def test_what_nobody_takes_stays_with_the_client() -> None:
    client = Client(100)
    inbox = Inbox(client.messages())
    await inbox.next(1)
    await asyncio.sleep(0.05)
    assert client.taken <= 3
    await inbox.close()


async def test_waiting_has_an_end_after_which_the_next_message_still_comes() -> None:
    inbox = Inbox(Client(1, pause_s=0.1).messages())
    with pytest.raises(TimeoutError):
        await inbox.next(0.01)
    assert await inbox.next(1) == 0
    await inbox.close()


async def test_draining_takes_all_that_comes_without_a_pause() -> None:
    client = Client(500, stays=True)
    inbox = Inbox(client.messages())
    await inbox.drain(5)
    assert client.taken == 500
    await inbox.close()


async def test_draining_does_not_go_on_for_ever() -> None:
    inbox = Inbox(Client(10_000, pause_s=0.01).messages())
    began = time.monotonic()
    await inbox.drain(0.3)
    assert 0.25 < time.monotonic() - began < 2
    await inbox.close()


async def test_a_message_that_cannot_be_read_is_told_at_once_and_is_the_last() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 0
        raise ValueError("no protobuf")

    inbox = Inbox(broken())
    assert await inbox.next(1) == 0
    with pytest.raises(InvalidArgument) as refused:
        await inbox.next(1)
    assert refused.value.reason == "MESSAGE_INVALID"
    assert await inbox.next(1) is None
    await inbox.close()

    drained = Inbox(broken())
    await drained.drain(1)
    await drained.close()
