"""Closed and open loops against scripted servers."""

import asyncio

import pytest

from benchmarks.client import Client, Message, Reply, user
from benchmarks.pace import Run, closed_loop, hold, open_loop
from benchmarks.traces import Session
from tests.benchmarks.scripted import Body, saying, whole

REFUSAL = b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: 1\r\n\r\n{}"


class Busy(Client):
    """Answers after a moment, and remembers how many it answered at once."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9")
        self.now = self.most = 0

    async def ask(self, *messages: Message, **options: object) -> Reply:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.02)
        self.now -= 1
        return Reply(200, messages[-1]["content"], [0.01], 0.02, complete=True)


def chats(count: int) -> list[Session]:
    return [Session((user(f"{index}"),)) for index in range(count)]


@pytest.mark.parametrize("at_once", [1, 3])
async def test_a_closed_loop_keeps_so_many_busy_and_no_more(at_once: int) -> None:
    client = Busy()
    run = await closed_loop(client, chats(7), at_once)
    assert client.most == at_once
    assert [replies[0].text for replies in run.replies] == [f"{index}" for index in range(7)]


async def test_an_open_loop_does_not_wait_for_answers() -> None:
    client = Busy()
    run = await open_loop(client, chats(10), per_second=1000.0, seed=0)
    assert client.most > 5
    assert [replies[0].text for replies in run.replies] == [f"{index}" for index in range(10)]


async def test_an_open_loop_begins_as_often_as_it_should() -> None:
    run = await open_loop(Busy(), chats(60), per_second=200.0, seed=0)
    assert 0.2 < run.seconds < 0.6


async def test_each_turn_is_asked_with_the_answers_before_it() -> None:
    asked: list[Body] = []

    def answer(body: Body) -> bytes:
        asked.append(body)
        return whole(f"answer {len(asked)}")

    async with saying(answer) as url, Client(url) as client:
        replies = await hold(client, Session((user("a"), user("b")), "be brief"), max_tokens=3)
    assert [reply.text for reply in replies] == ["answer 1", "answer 2"]
    assert [message["content"] for message in asked[1]["messages"]] == ["be brief", "a", "answer 1", "b"]
    assert {body["max_tokens"] for body in asked} == {3}


async def test_a_turn_that_fails_ends_its_session_and_the_rest_is_counted() -> None:
    async with saying(lambda body: REFUSAL) as url, Client(url) as client:
        run = await closed_loop(client, [Session((user("a"), user("b"), user("c")))], 1)
    assert run.outcomes == {"refused": 1, "unasked": 2}
    assert run.answered == []


def test_only_whole_answers_make_throughput() -> None:
    whole_one = Reply(complete=True, usage={"completion_tokens": 10})
    broken = Reply(piece_s=[0.1, 0.2])
    assert Run(chats(2), [[whole_one], [broken]], 2.0).tokens_per_second == 5.0
