"""Updates wait in a bounded queue, and what they account for never shrinks."""

import asyncio

import pytest

from servicekit.errors import ResourceExhausted
from services.speech.streaming.outbox import CAPACITY, Outbox
from services.speech.streaming.updates import Interim, SpeechBegan, Update


async def test_what_an_update_accounts_for_never_shrinks() -> None:
    outbox = Outbox(1)
    await outbox.put(Update(SpeechBegan(1.0), 2.0))
    await outbox.put(Update(Interim(0, "好", 0), 1.5))
    await outbox.close()
    assert await outbox.take() == Update(SpeechBegan(1.0), 2.0)
    assert await outbox.take() == Update(Interim(0, "好", 0), 2.0)
    assert await outbox.take() is None


async def test_a_client_that_reads_nothing_is_given_up() -> None:
    outbox = Outbox(0.05)
    for place in range(CAPACITY):
        await outbox.put(Update(SpeechBegan(place), place))
    with pytest.raises(ResourceExhausted) as refused:
        await outbox.put(Update(SpeechBegan(99), 99))
    assert refused.value.reason == "RESULTS_UNREAD"


async def test_once_the_call_is_over_nothing_waits_for_room() -> None:
    outbox = Outbox(60)
    for place in range(CAPACITY):
        await outbox.put(Update(SpeechBegan(place), place))
    waiting = asyncio.create_task(outbox.put(Update(SpeechBegan(98), 98)))
    await asyncio.sleep(0)
    outbox.abandon()
    async with asyncio.timeout(1):
        await waiting
        for place in range(2 * CAPACITY):
            await outbox.put(Update(SpeechBegan(place), place))
        await outbox.close()
