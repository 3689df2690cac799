"""The HTTP server around the app: says where it can be reached, drains, and lets the process exit 0."""

import logging
import math
import socket
from types import FrameType

import structlog
import uvicorn

from gateway.app import create_app
from gateway.clients import Clients
from gateway.settings import GatewaySettings
from servicekit.settings import SettingsError
from servicekit.tls import https_context

log = structlog.get_logger("gateway")


def _is_meant(record: logging.LogRecord) -> bool:
    """False for what uvicorn says of every WebSocket that was refused, rightly, with an HTTP status."""
    return "without completing handshake" not in record.getMessage()


class Server(uvicorn.Server):
    """Create it on the event loop it will serve on."""

    def __init__(self, settings: GatewaySettings):
        """Raises SettingsError when certificates or keys cannot be read."""
        self._https = https = https_context(settings.https) if settings.https else None
        config = uvicorn.Config(
            create_app(Clients(settings), settings),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            ws_max_size=settings.max_realtime_event_bytes,
            timeout_graceful_shutdown=math.ceil(settings.drain_seconds),
            ssl_context_factory=(lambda *_: https.get()) if https else None,
        )
        super().__init__(config)
        logging.getLogger("uvicorn.error").addFilter(_is_meant)

    @property
    def url(self) -> str:
        """Where it listens, once it has started."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        scheme = "https" if self._https else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Raises SettingsError when the port cannot be bound."""
        try:
            await super().startup(sockets)
        except SystemExit as error:
            address = f"{self.config.host}:{self.config.port}"
            raise SettingsError(f"{address} cannot be bound; is the port taken?") from error
        log.info(f"FastAPI server running at {self.url}")
        log.info("OpenAI-compatible API available at /v1/chat/completions")

    async def on_tick(self, counter: int) -> bool:
        if self._https:
            self._https.get()  # loads a renewed certificate
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, a second one does not wait; uvicorn's own would then die of the signal."""
        self.force_exit, self.should_exit = self.should_exit, True
