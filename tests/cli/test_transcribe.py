"""`autoglm transcribe`, against a scripted server."""

from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cli import main
from cli.client import Gateway, GatewayError


def gateway(handle: httpx.MockTransport) -> Gateway:
    return Gateway("http://server", handle)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    path.write_bytes(b"RIFF of a clip")
    return path


def test_a_recording_is_sent_as_a_form(recording: Path) -> None:
    sent: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, text="你好\n")

    with gateway(httpx.MockTransport(handle)) as server:
        assert server.transcript(recording, "srt", "红烧肉") == "你好\n"
    body = sent[0].read()
    assert sent[0].url.path == "/v1/audio/transcriptions"
    for piece in (b"RIFF of a clip", b'filename="clip.wav"', b"srt", "红烧肉".encode()):
        assert piece in body


def test_a_refusal_is_told_in_the_servers_words(recording: Path) -> None:
    reply = httpx.Response(400, json={"error": {"message": "It is no sound."}})
    with (
        gateway(httpx.MockTransport(lambda _: reply)) as server,
        pytest.raises(GatewayError, match=r"HTTP 400: It is no sound\."),
    ):
        server.transcript(recording)


def test_without_a_server_the_command_fails_and_says_so(recording: Path) -> None:
    result = CliRunner().invoke(main.app, ["transcribe", str(recording), "--url", "http://127.0.0.1:1"])
    assert result.exit_code == 1
    assert "Is `autoglm serve` running?" in result.output
