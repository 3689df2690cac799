"""API keys: with any configured, whoever brings none is turned away at the door."""

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.errors import ApiError
from servicekit.keys import KeyRing, bearer
from servicekit.telemetry import caller

PROBES = "/health/"
METRICS = "/metrics"
OFFERED_KEY = "openai-insecure-api-key."  # as OpenAI's client for browsers says it


class ApiKeys:
    """Lets probes through, Prometheus unless told otherwise, and who sends `Authorization: Bearer <key>`.

    It stands before the routes, so that a route added later is not open by mistake.
    """

    def __init__(self, app: ASGIApp, keys: KeyRing, *, metrics_open: bool):
        self._app, self._keys, self._metrics_open = app, keys, metrics_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and not self._is_open(scope["path"]):
            key = bearer(Headers(scope=scope).get("authorization", "")) or _offered(scope)
            holder = self._keys.holder(key) if key else None
            if holder is None:
                await _refusal(key)(scope, receive, send)
                return
            caller.set(holder)
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path.startswith(PROBES) or (path == METRICS and self._metrics_open)


def _offered(scope: Scope) -> str | None:
    """The key of a WebSocket that a page opens: it can set no header, and names its key as a protocol."""
    keys = [name for name in scope.get("subprotocols", ()) if name.startswith(OFFERED_KEY)]
    return keys[0].removeprefix(OFFERED_KEY) if keys else None


def _refusal(key: str | None) -> JSONResponse:
    message = "The API key is not known here." if key else "Send an API key: `Authorization: Bearer <key>`."
    error = ApiError(401, "invalid_api_key", message)
    return JSONResponse(error.body, error.status, {"WWW-Authenticate": "Bearer"})
