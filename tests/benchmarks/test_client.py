"""Against a server that says exactly what it is told to."""

import pytest

from benchmarks.client import Client, Reply, user
from benchmarks.errors import BenchmarkError
from benchmarks.pictures import solid
from tests.benchmarks.scripted import DONE, STREAM, events, piece, saying


async def reply_to(answer: bytes) -> Reply:
    async with saying(lambda body: answer) as url, Client(url) as client:
        return await client.ask(user("你好"))


async def test_an_answer_that_reaches_its_end_is_answered() -> None:
    last = {"choices": [], "usage": {"completion_tokens": 2}, "autoglm": {"receipt": {"steps": 2}}}
    reply = await reply_to(STREAM + events(piece("你"), piece("好"), last) + DONE)
    assert (reply.outcome, reply.text) == ("answered", "你好")
    assert reply.usage == {"completion_tokens": 2}
    assert reply.receipt == {"steps": 2}
    assert 0 < reply.first_token_s <= reply.total_s


async def test_time_per_token_counts_from_the_first_piece_to_the_last() -> None:
    reply = Reply(piece_s=[1.0, 1.5, 3.0], usage={"completion_tokens": 5})
    assert (reply.first_token_s, reply.tokens, reply.token_s) == (1.0, 5, 0.5)
    assert reply.pauses == [0.5, 1.5]


async def test_without_usage_a_piece_counts_as_a_token() -> None:
    assert Reply(piece_s=[1.0, 1.5]).tokens == 2


async def test_an_answer_may_end_with_a_reason_instead_of_a_last_word() -> None:
    last = {"choices": [{"delta": {}, "finish_reason": "length"}]}
    assert (await reply_to(STREAM + events(piece("你"), last))).outcome == "answered"
    assert (await reply_to(STREAM + events(piece("你"), last, {"error": "no more"}))).outcome == "lost"


async def test_what_is_no_event_is_lost_and_says_why() -> None:
    reply = await reply_to(STREAM + b"data: {nonsense\n\n")
    assert (reply.outcome, "JSONDecodeError" in reply.error["message"]) == ("lost", True)


async def test_a_stream_that_breaks_off_is_lost() -> None:
    assert (await reply_to(STREAM + events(piece("你")))).outcome == "lost"


async def test_a_stream_that_ends_with_an_error_is_lost_and_says_why() -> None:
    reply = await reply_to(STREAM + events(piece("你"), {"error": {"code": "INTERNAL"}}))
    assert (reply.outcome, reply.error) == ("lost", {"code": "INTERNAL"})


@pytest.mark.parametrize(("header", "outcome"), [(b"Retry-After: 3\r\n", "refused"), (b"", "lost")])
async def test_a_refusal_must_say_when_to_come_back(header: bytes, outcome: str) -> None:
    head = b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\n" + header
    reply = await reply_to(head + b'\r\n{"error": {"code": "QUEUE_FULL"}}')
    assert (reply.outcome, reply.error["code"]) == (outcome, "QUEUE_FULL")


async def test_no_answer_at_all_is_lost() -> None:
    assert (await reply_to(b"")).outcome == "lost"


async def test_a_server_without_models_is_no_server() -> None:
    missing = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"
    async with saying(lambda body: b"", models=missing) as url:
        with pytest.raises(BenchmarkError, match="No list of models"):
            await Client(url).__aenter__()


def test_pictures_stand_before_the_text_as_what_they_are() -> None:
    picture, text = user("颜色？", solid((1, 2, 3)))["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert text == {"type": "text", "text": "颜色？"}
