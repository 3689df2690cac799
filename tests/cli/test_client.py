"""The gateway client and the terminal chat, against a scripted server."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from cli.chat import Chat
from cli.client import Gateway, GatewayError, Piece, image_part, user_message

Handler = Callable[[dict[str, Any]], httpx.Response]


def gateway(handler: Handler) -> Gateway:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "tiny"}]})
        return handler(json.loads(request.content))

    return Gateway("http://server", httpx.MockTransport(handle))


def events(*payloads: str) -> httpx.Response:
    body = "".join(f"data: {payload}\n\n" for payload in payloads)
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, text=body)


def delta(**fields: str) -> str:
    return json.dumps({"choices": [{"delta": fields}]})


def test_a_stream_yields_reasoning_and_text() -> None:
    reply = events(delta(role="assistant"), delta(reasoning_content="hm"), delta(content="你好"), "[DONE]")
    with gateway(lambda _: reply) as server:
        pieces = list(server.stream([user_message("hi", [])]))
    assert pieces == [Piece(), Piece(reasoning="hm"), Piece(text="你好")]


def test_a_stream_without_an_end_is_an_error() -> None:
    with (
        gateway(lambda _: events(delta(content="你"))) as server,
        pytest.raises(GatewayError, match="broke off"),
    ):
        list(server.stream([]))


def test_an_error_in_a_stream_is_raised_with_its_message() -> None:
    reply = events(delta(content="你"), json.dumps({"error": {"message": "vision is down"}}))
    with gateway(lambda _: reply) as server, pytest.raises(GatewayError, match="vision is down"):
        list(server.stream([]))


def test_an_http_error_is_raised_with_the_servers_message() -> None:
    reply = httpx.Response(400, json={"error": {"message": "no picture"}})
    with gateway(lambda _: reply) as server:
        with pytest.raises(GatewayError, match="HTTP 400: no picture"):
            server.answer([])
        with pytest.raises(GatewayError, match="HTTP 400: no picture"):
            list(server.stream([]))


def test_a_server_that_is_not_there_is_named() -> None:
    with (
        Gateway("http://127.0.0.1:9") as server,
        pytest.raises(GatewayError, match=r"127\.0\.0\.1:9.*autoglm serve"),
    ):
        server.answer([])


def test_a_picture_becomes_a_data_url(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG")
    assert image_part(path) == {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}


def talk(handler: Handler, *lines: str) -> tuple[Chat, str]:
    output = io.StringIO()
    with gateway(handler) as server:
        chat = Chat(server, Console(file=output, width=200), think=False)
        for line in lines:
            chat.take(line)
    return chat, output.getvalue()


def test_chat_sends_the_whole_conversation_with_the_picture_once(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"x")
    bodies: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> httpx.Response:
        bodies.append(body)
        return events(delta(content="[bold]好[/bold]"), "[DONE]")

    _, output = talk(answer, f"/image {picture}", "这是什么?", "谢谢")
    assert [message["role"] for message in bodies[1]["messages"]] == ["user", "assistant", "user"]
    assert [part["type"] for part in bodies[1]["messages"][0]["content"]] == ["image_url", "text"]
    assert bodies[1]["messages"][1]["content"] == "[bold]好[/bold]"
    assert bodies[1]["messages"][2]["content"] == "谢谢"
    assert output.count("[bold]好[/bold]") == 2  # shown as it came, not read as markup


def test_chat_keeps_the_picture_when_the_answer_fails(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"x")
    failure = httpx.Response(503, json={"error": {"message": "vision is down"}})
    chat, output = talk(lambda _: failure, f"/image {picture}", "这是什么?")
    assert "vision is down" in output
    assert chat.messages == []
    assert chat.images == [picture]


def test_chat_goes_on_after_a_picture_that_went_away(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"x")

    def answer(_: dict[str, Any]) -> httpx.Response:
        picture.unlink(missing_ok=True)
        return events(delta(content="好"), "[DONE]")

    chat, output = talk(answer, "你好", f"/image {picture}", "这是什么?", "再见")
    assert "no file" in output
    assert len(chat.messages) == 6
    chat.images.append(picture)
    chat.take("这是什么?")
    assert len(chat.messages) == 6
    assert chat.images == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:abc", "http://[::1"])
def test_what_is_no_url_is_named(url: str) -> None:
    with pytest.raises(GatewayError, match="is no URL"):
        Gateway(url)


def test_half_a_character_from_a_broken_terminal_is_sent_as_it_is() -> None:
    asked: list[str] = []

    def answer(body: dict[str, Any]) -> httpx.Response:
        asked.append(body["messages"][0]["content"])
        return events("[DONE]") if body.get("stream") else httpx.Response(200, json={})

    with gateway(answer) as server:
        server.answer([user_message("a\udcff", [])])
        list(server.stream([user_message("a\udcff", [])]))
    assert asked == ["a\udcff"] * 2


def test_a_key_that_no_header_takes_is_refused() -> None:
    with pytest.raises(GatewayError, match="ASCII"):
        Gateway(api_key="钥匙")


def test_another_kind_of_server_is_told_as_such() -> None:
    page = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>"))
    with Gateway(transport=page) as other, pytest.raises(GatewayError, match="OpenAI-compatible"):
        other.model()


def test_chat_new_forgets_everything() -> None:
    chat, _ = talk(lambda _: events(delta(content="好"), "[DONE]"), "你好", "/new")
    assert chat.messages == []


def test_chat_names_a_missing_file_and_an_unknown_command() -> None:
    _, output = talk(
        lambda _: events("[DONE]"),
        "/image /no/such.png",
        "/dance",
        "/image ~nobody-here/x",
        f"/image {'a' * 300}",
    )
    assert "There is no file /no/such.png" in output
    assert "There is no command /dance" in output
