"""`python -m gateway`: serves the OpenAI-compatible HTTP surface."""

import asyncio
import sys

import structlog
import uvicorn

from gateway.app import create_app
from gateway.clients import Clients
from gateway.settings import GatewaySettings
from servicekit.server import check_exposure
from servicekit.settings import SettingsError, load_settings
from servicekit.telemetry import configure_logging, configure_tracing

log = structlog.get_logger("gateway")


class Server(uvicorn.Server):
    """Says where it can be reached once it can."""

    async def startup(self, *args: object, **options: object) -> None:
        await super().startup(*args, **options)  # type: ignore[arg-type]
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            log.info(f"FastAPI server running at http://{host}:{port}")
            log.info("OpenAI-compatible API available at /v1/chat/completions")


def main() -> None:
    """Serves until told to stop; what prevents the start is said and exits 1."""
    configure_logging()
    try:
        settings = load_settings("gateway", GatewaySettings)
        check_exposure(settings.host, insecure=settings.insecure)
    except SettingsError as error:
        log.error("cannot start", why=str(error))
        sys.exit(1)
    configure_logging(settings.log_level)
    configure_tracing("autoglm-gateway")
    asyncio.run(_serve(settings))


async def _serve(settings: GatewaySettings) -> None:
    config = uvicorn.Config(
        create_app(Clients(settings), settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.drain_seconds),
    )
    await Server(config).serve()


if __name__ == "__main__":
    main()
