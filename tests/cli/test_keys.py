"""`autoglm keys new`, and clients that use what it prints."""

import httpx
import pytest
from typer.testing import CliRunner

from cli.client import Gateway
from cli.main import app
from servicekit.keys import KeyRing
from servicekit.settings import KeySettings


def test_what_is_printed_opens() -> None:
    done = CliRunner().invoke(app, ["keys", "new", "phone"])
    assert done.exit_code == 0
    key_line, hash_line = done.stdout.splitlines()
    _, key = key_line.split()
    _, name, known = hash_line.split()
    assert KeyRing(KeySettings(hashes={name: known})).holder(key) == "phone"


@pytest.mark.parametrize(("key", "header"), [("k", "Bearer k"), (None, None)])
def test_the_client_sends_the_key_it_was_given(key: str | None, header: str | None) -> None:
    sent: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("authorization"))
        return httpx.Response(200, json={"data": [{"id": "tiny"}]})

    with Gateway(transport=httpx.MockTransport(answer), api_key=key) as gateway:
        assert gateway.model() == "tiny"
    assert sent == [header]
