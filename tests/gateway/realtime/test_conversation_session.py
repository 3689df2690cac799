"""Conversation sessions: a spoken question is answered, and speaking again cuts the answer short."""

import base64
from typing import Any

import openai
import pytest

from autoglm.llm.v1 import llm_pb2
from servicekit.errors import InvalidArgument, ResourceExhausted
from tests.gateway.conftest import Gateway, StartGateway
from tests.gateway.realtime.client import Realtime, connected
from tests.gateway.scripted_llm import PAUSE, ScriptedLLM, finish, said
from tests.gateway.scripted_speech import TURN, ScriptedSpeech, begins, ends, settles

PICTURE = f"data:image/png;base64,{base64.b64encode(b'picture').decode()}"
ANSWER = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]


async def write(client: Realtime, *content: dict[str, Any], role: str = "user", **fields: Any) -> None:
    item = {"type": "message", "role": role, "content": list(content), **fields}
    await client.send("conversation.item.create", item=item)


def text(words: str) -> dict[str, Any]:
    return {"type": "input_text", "text": words}


async def test_a_spoken_question_about_a_picture_is_answered(
    llm: ScriptedLLM, hearing_gateway: Gateway
) -> None:
    async with connected(hearing_gateway, "?model=gpt-realtime") as client:
        await client.update(type="realtime", instructions="简短回答。", output_modalities=["text"])
        await write(client, {"type": "input_image", "image_url": PICTURE})
        await client.until("conversation.item.done")
        await client.speak(1.1)
        done = (await client.until("response.done"))["response"]
    assert client.kinds[-len(ANSWER) :] == ANSWER
    assert done["status"] == "completed"
    assert done["output"][0]["content"] == [{"type": "output_text", "text": "红苹果"}]
    assert done["usage"]["total_tokens"] == 12
    assert done["autoglm"]["gate_weights"][0]["image"] == 0.75
    system, user = llm.requests[0].messages
    assert system.parts[0].text == "简短回答。"
    assert [part.WhichOneof("content") for part in user.parts] == ["image", "audio"]


async def test_the_transcript_is_told_only_when_asked_for(hearing_gateway: Gateway) -> None:
    completed = "conversation.item.input_audio_transcription.completed"
    async with connected(hearing_gateway) as client:
        await client.speak(1.1)
        await client.until("response.done")
        assert completed not in client.kinds
    async with connected(hearing_gateway) as client:
        await client.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
        await client.speak(1.1)
        await client.until("response.done")
        assert completed in client.kinds


async def test_speaking_again_cancels_the_answer(
    speech: ScriptedSpeech, llm: ScriptedLLM, hearing_gateway: Gateway
) -> None:
    llm.will(said("红"), PAUSE)
    speech.will(*TURN, begins(1.5), ends(1.8), settles(2.0, "停", 1.5, 1.8, index=1))
    async with connected(hearing_gateway) as client:
        await client.speak(1.2)
        await client.until("response.output_text.delta")
        await client.speak(0.4)
        cancelled = (await client.until("response.done"))["response"]
        await llm.cancelled.wait()
        await client.speak(0.6)
        second = (await client.until("response.done"))["response"]
    assert (cancelled["status"], cancelled["status_details"]["reason"]) == ("cancelled", "turn_detected")
    assert cancelled["output"][0]["content"][0]["text"] == "红"
    assert second["status"] == "completed"
    roles = [message.role for message in llm.requests[1].messages]
    assert roles == [llm_pb2.ROLE_USER, llm_pb2.ROLE_ASSISTANT, llm_pb2.ROLE_USER]


async def test_an_answer_that_may_not_be_interrupted_goes_on(
    speech: ScriptedSpeech, llm: ScriptedLLM, hearing_gateway: Gateway
) -> None:
    llm.will(said("红"), PAUSE, said("色"), finish())
    speech.will(*TURN, begins(1.5))
    turn_detection = {"type": "server_vad", "interrupt_response": False}
    async with connected(hearing_gateway) as client:
        await client.update(audio={"input": {"turn_detection": turn_detection}})
        await client.speak(1.2)
        await client.until("response.output_text.delta")
        await client.speak(0.4)
        await client.until("input_audio_buffer.speech_started")
        llm.release.set()
        assert (await client.until("response.done"))["response"]["status"] == "completed"


async def test_the_client_may_ask_and_cancel_itself(llm: ScriptedLLM, hearing_gateway: Gateway) -> None:
    llm.will(said("红"), PAUSE)
    async with connected(hearing_gateway) as client:
        await write(client, text("你好"), id="hello")
        await client.send("response.create")
        created = await client.until("response.created")
        await client.until("response.output_text.delta")
        await client.send("response.create", event_id="twice")
        refused = (await client.until("error"))["error"]
        assert (refused["code"], refused["event_id"]) == ("conversation_already_has_active_response", "twice")
        await client.send("response.cancel", response_id=created["response"]["id"])
        done = (await client.until("response.done"))["response"]
        assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
        await client.send("response.cancel")
        assert (await client.until("error"))["error"]["code"] == "response_cancel_not_active"


async def test_a_cancel_right_after_a_create_still_ends_what_began(hearing_gateway: Gateway) -> None:
    async with connected(hearing_gateway) as client:
        await write(client, text("你好"))
        await client.send("response.create")
        await client.send("response.cancel")
        await client.until("response.done")
        assert client.kinds.count("response.created") == 1


async def test_a_committed_turn_is_answered_when_asked_and_once_it_is_heard(
    llm: ScriptedLLM, hearing_gateway: Gateway
) -> None:
    async with connected(hearing_gateway) as client:
        await client.update(audio={"input": {"turn_detection": None}})
        await client.speak(1.0)
        await client.send("input_audio_buffer.commit")
        await client.send("response.create", response={"max_output_tokens": 7, "instructions": "快"})
        done = (await client.until("response.done"))["response"]
    assert (done["status"], done["max_output_tokens"]) == ("completed", 7)
    (request,) = llm.requests
    assert request.sampling.max_tokens == 7
    assert len(request.messages[1].parts[0].audio.data) == 44 + 2 * round(0.6 * 24_000)


async def test_an_answer_outside_the_conversation_is_not_remembered(
    llm: ScriptedLLM, hearing_gateway: Gateway
) -> None:
    async with connected(hearing_gateway) as client:
        await write(client, text("你好"))
        await client.send("response.create", response={"conversation": "none", "metadata": {"for": "me"}})
        done = (await client.until("response.done"))["response"]
        assert (done["conversation_id"], done["metadata"]) == (None, {"for": "me"})
        await client.send("response.create")
        await client.until("response.done")
    assert [len(request.messages) for request in llm.requests] == [1, 1]


async def test_the_conversation_is_kept_and_can_be_edited(llm: ScriptedLLM, hearing_gateway: Gateway) -> None:
    async with connected(hearing_gateway) as client:
        await write(client, text("一"), id="one")
        await write(client, {"type": "output_text", "text": "二"}, role="assistant", id="two")
        item = {"type": "message", "role": "system", "content": [text("零")]}
        await client.send("conversation.item.create", item=item, previous_item_id="root")
        for _ in range(3):
            await client.until("conversation.item.done")
        await client.send("conversation.item.retrieve", item_id="two")
        assert (await client.until("conversation.item.retrieved"))["item"]["content"][0]["text"] == "二"
        await client.send("conversation.item.delete", item_id="two")
        await client.until("conversation.item.deleted")
        await write(client, text("三"))
        await client.send("response.create")
        await client.until("response.done")
    system, user = llm.requests[0].messages
    assert system.parts[0].text == "零"
    assert [part.text for part in user.parts] == ["一", "三"]


async def test_old_items_go_when_there_are_too_many(
    speech: ScriptedSpeech, llm: ScriptedLLM, start_gateway: StartGateway
) -> None:
    target = f"127.0.0.1:{speech.port}"
    async with (
        start_gateway(speech_target=target, max_realtime_items=2) as gateway,
        connected(gateway) as client,
    ):
        for name in ("one", "two", "three"):
            await write(client, text(name), id=name)
        assert (await client.until("conversation.item.deleted"))["item_id"] == "one"
        await client.send("response.create")
        await client.until("response.done")
    assert [part.text for part in llm.requests[0].messages[0].parts] == ["two", "three"]


async def test_a_conversation_beyond_the_context_loses_its_oldest_turn(
    llm: ScriptedLLM, hearing_gateway: Gateway
) -> None:
    llm.will(InvalidArgument("CONTEXT_TOO_LONG", "Too long.", field="messages"))
    async with connected(hearing_gateway) as client:
        await write(client, text("旧"), id="old")
        await write(client, {"type": "output_text", "text": "答"}, role="assistant", id="answer")
        await write(client, text("新"))
        await client.send("response.create")
        assert (await client.until("response.done"))["response"]["status"] == "completed"
    assert [event["item_id"] for event in client.of("conversation.item.deleted")] == ["old", "answer"]
    assert [len(request.messages) for request in llm.requests] == [3, 1]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ResourceExhausted("QUEUE_FULL", "Later."), "QUEUE_FULL"),
        (InvalidArgument("CONTEXT_TOO_LONG", "Too long."), "CONTEXT_TOO_LONG"),
        (RuntimeError("a secret of this house"), "INTERNAL"),
    ],
)
async def test_an_answer_that_fails_says_why(
    failure: Exception, code: str, llm: ScriptedLLM, hearing_gateway: Gateway
) -> None:
    llm.will(said("红"), failure)
    async with connected(hearing_gateway) as client:
        await write(client, text("你好"))
        await client.send("response.create")
        done = (await client.until("response.done"))["response"]
    assert (done["status"], done["status_details"]["error"]["code"]) == ("failed", code)
    assert "secret" not in str(client.seen)


async def test_a_part_that_cannot_be_read_is_told_by_its_item(
    llm: ScriptedLLM, hearing_gateway: Gateway
) -> None:
    llm.will(InvalidArgument("IMAGE_UNREADABLE", "No picture.", field="messages[0].parts[2]"))
    async with connected(hearing_gateway) as client:
        await write(client, text("看"), id="first")
        await write(client, text("这"), {"type": "input_image", "image_url": PICTURE}, id="second")
        await client.send("response.create")
        error = (await client.until("response.done"))["response"]["status_details"]["error"]
    assert error["code"] == "IMAGE_UNREADABLE"
    assert error["message"] == "No picture. It is content[1] of the item second."


async def test_text_counts_among_what_a_conversation_may_hold(
    speech: ScriptedSpeech, start_gateway: StartGateway
) -> None:
    async with (
        start_gateway(speech_target=f"127.0.0.1:{speech.port}", max_body_bytes=1024) as gateway,
        connected(gateway) as client,
    ):
        for name in ("one", "two"):
            await write(client, text("x" * 600), id=name)
        assert (await client.until("conversation.item.deleted"))["item_id"] == "one"
        await write(client, text("x" * 1200))
        assert (await client.until("error"))["error"]["code"] == "item_too_large"


async def test_an_answer_cut_by_its_limit_is_incomplete(llm: ScriptedLLM, hearing_gateway: Gateway) -> None:
    llm.will(said("红"), finish(llm_pb2.FINISH_REASON_LENGTH))
    async with connected(hearing_gateway) as client:
        await write(client, text("你好"))
        await client.send("response.create")
        done = (await client.until("response.done"))["response"]
    assert (done["status"], done["status_details"]["reason"]) == ("incomplete", "max_output_tokens")


async def test_the_openai_client_converses(hearing_gateway: Gateway) -> None:
    base_url = f"{hearing_gateway.server.url}/v1"
    direct: Any = {"proxy": None}
    async with (
        openai.AsyncOpenAI(base_url=base_url, api_key="EMPTY") as client,
        client.realtime.connect(model="gpt-realtime", websocket_connection_options=direct) as connection,
    ):
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        content: Any = [{"type": "input_text", "text": "你好"}]
        await connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": content}
        )
        await connection.response.create()
        words = ""
        async for event in connection:
            if event.type == "response.output_text.delta":
                words += event.delta
            if event.type == "response.done":
                break
    assert words == "红苹果"
