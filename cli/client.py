"""A small client of the gateway's OpenAI-compatible API."""

import base64
import json
import mimetypes
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

DEFAULT_URL = "http://127.0.0.1:8000"
READ_TIMEOUT_S = 300.0
COMPLETIONS = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}

Message = dict[str, Any]


class GatewayError(Exception):
    """The gateway could not be reached or refused the request."""


@dataclass(frozen=True)
class Piece:
    """A piece of a streamed answer."""

    text: str = ""
    reasoning: str = ""


class Gateway:
    """Talks to one server; use as a context manager."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        transport: httpx.BaseTransport | None = None,
        *,
        api_key: str | None = None,
        ca: Path | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        try:
            # A server named by the user is reached directly, whatever proxy the environment sets.
            self._http = httpx.Client(
                base_url=self.url,
                timeout=httpx.Timeout(READ_TIMEOUT_S, connect=5.0),
                transport=transport,
                headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
                verify=ssl.create_default_context(cafile=ca) if ca else True,
                trust_env=False,
            )
        except httpx.InvalidURL as error:
            raise GatewayError(f"{self.url} is no URL: {error}") from error
        except UnicodeEncodeError as error:
            raise GatewayError("An API key holds plain ASCII characters only.") from error
        except OSError as error:  # ssl.SSLError is one
            raise GatewayError(f"{ca} is not usable as a certificate authority: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def model(self) -> str:
        """Name of the first model the server offers."""
        try:
            response = self._http.get("/v1/models")
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        _raise_for_error(response)
        try:
            return str(response.json()["data"][0]["id"])
        except (ValueError, LookupError, TypeError) as error:
            raise GatewayError(f"{self.url} answers, but not as an OpenAI-compatible server does.") from error

    def answer(self, messages: list[Message], **options: Any) -> dict[str, Any]:
        """The whole completion object for a conversation."""
        try:
            response = self._http.post(COMPLETIONS, content=self._request(messages, options), headers=JSON)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        _raise_for_error(response)
        completion: dict[str, Any] = response.json()
        return completion

    def transcript(self, clip: Path, form: str = "text", words: str = "") -> str:
        """What is said in a recording, in one of the audio API's formats; `words` are listened for."""
        fields = {"response_format": form} | ({"prompt": words} if words else {})
        try:
            response = self._http.post(
                "/v1/audio/transcriptions", files={"file": (clip.name, clip.read_bytes())}, data=fields
            )
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        _raise_for_error(response)
        return response.text

    def stream(self, messages: list[Message], **options: Any) -> Iterator[Piece]:
        """The answer piece by piece; raises GatewayError when the stream breaks off."""
        body = self._request(messages, options | {"stream": True})
        try:
            with self._http.stream("POST", COMPLETIONS, content=body, headers=JSON) as response:
                if response.is_error:
                    response.read()
                _raise_for_error(response)
                yield from _pieces(response.iter_lines())
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _request(self, messages: list[Message], options: dict[str, Any]) -> str:
        """As ASCII, which even half characters of a broken terminal can be written in."""
        return json.dumps({"model": self.model(), "messages": messages, **options}, ensure_ascii=True)

    def _unreachable(self, error: httpx.HTTPError) -> GatewayError:
        reason = str(error) or type(error).__name__
        return GatewayError(f"No answer from {self.url} ({reason}). Is `autoglm serve` running?")


def image_part(path: Path) -> dict[str, Any]:
    """A picture file as a message part."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    data = base64.b64encode(path.read_bytes()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}


def audio_part(path: Path) -> dict[str, Any]:
    """A recording as a message part."""
    data = base64.b64encode(path.read_bytes()).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": path.suffix.removeprefix(".")}}


def user_message(text: str, images: list[Path]) -> Message:
    """A user message: the pictures first, then the text."""
    if not images:
        return {"role": "user", "content": text}
    return {"role": "user", "content": [*map(image_part, images), {"type": "text", "text": text}]}


def _raise_for_error(response: httpx.Response) -> None:
    if response.is_success:
        return
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = response.text[:200]
    raise GatewayError(f"HTTP {response.status_code}: {message}")


def _pieces(lines: Iterator[str]) -> Iterator[Piece]:
    for line in lines:
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        event = json.loads(data)
        if "error" in event:
            raise GatewayError(event["error"]["message"])
        for choice in event["choices"]:
            delta = choice["delta"]
            yield Piece(delta.get("content") or "", delta.get("reasoning_content") or "")
    raise GatewayError("The answer broke off before its end.")
