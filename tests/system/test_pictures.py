"""The whole path of a picture: what is said, which way it took, and what was not done twice."""

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.client import Client, assistant, user
from benchmarks.pictures import solid
from benchmarks.server import Server
from tests.pictures import file_of

pytestmark = pytest.mark.system

ENCODES = "autoglm_vision_encodes_total"
QUESTION = "这是什么颜色？"
LABEL = Path("tests/vision/text/label.jpg")


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("name", "colour"), [("红", (221, 31, 28)), ("绿", (34, 158, 51)), ("蓝", (35, 63, 202))]
)
async def test_a_solid_picture_is_looked_at_once_and_named_by_its_colour(
    name: str, colour: tuple[int, int, int], server: Server, client: Client
) -> None:
    question, before = user(QUESTION, solid(colour)), server.metric("vision", ENCODES)
    first = await client.ask(question)
    assert name in first.text
    assert server.metric("vision", ENCODES) == before + 1
    again = await client.ask(question)
    assert again.text == first.text
    assert server.metric("vision", ENCODES) == before + 1


async def test_the_receipt_says_whether_the_encoder_ran(server: Server, client: Client) -> None:
    question, before = user(QUESTION, solid((200, 120, 3))), server.metric("vision", ENCODES)
    replies = [await client.ask(question, max_tokens=4) for _ in range(2)]
    sources = [medium["source"] for reply in replies for medium in reply.receipt["media"]]
    assert sources == ["MEDIA_SOURCE_ENCODED", "MEDIA_SOURCE_LOCAL_CACHE"]
    assert server.metric("vision", ENCODES) == before + 1


async def test_a_picture_is_still_a_prefix_hit_one_turn_later(client: Client) -> None:
    question = user("请仔细看看这张图片，告诉我你看到了什么。", solid((90, 10, 140)))
    first = await client.ask(question, max_tokens=8)
    assert first.usage["prompt_tokens_details"]["cached_tokens"] == 0
    later = await client.ask(question, assistant(first.text), user("还有呢？"), max_tokens=8)
    (medium,) = later.receipt["media"]
    assert medium["source"] == "MEDIA_SOURCE_LOCAL_CACHE"
    assert later.usage["prompt_tokens_details"]["cached_tokens"] > medium["token_count"]


async def test_text_alone_has_the_whole_weight(client: Client) -> None:
    reply = await client.ask(user("你好"), max_tokens=4)
    (gate,) = reply.extension["gate_weights"]
    assert (gate["text"], gate["image"], gate["audio"]) == (1, 0, 0)


async def test_a_picture_and_its_question_share_the_weight(client: Client) -> None:
    reply = await client.ask(user(QUESTION, solid((12, 200, 180))), max_tokens=4)
    (gate,) = reply.extension["gate_weights"]
    assert gate["text"] > 0
    assert gate["image"] > 0
    assert gate["audio"] == 0
    assert gate["text"] + gate["image"] == pytest.approx(1)


async def test_what_is_printed_in_a_picture_reaches_the_prompt(client: Client) -> None:
    label = Image.open(LABEL)
    read, blank = [
        await client.ask(user("配料有哪些？", picture), max_tokens=1)
        for picture in (file_of(label), file_of(Image.new("RGB", label.size, "white")))
    ]
    more = read.usage["prompt_tokens"] - blank.usage["prompt_tokens"]
    assert more > len("图中文字：山谷柠檬味饮料 配料：水、白砂糖、柠檬酸、食用香精") / 2
