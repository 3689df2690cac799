"""`python -m gateway`: serves the OpenAI-compatible HTTP surface."""

import asyncio
import sys

import structlog

from gateway.server import Server
from gateway.settings import GatewaySettings
from servicekit.exposure import check_exposure, is_loopback
from servicekit.settings import SettingsError, load_settings
from servicekit.telemetry import configure_logging, configure_tracing

log = structlog.get_logger("gateway")


def main() -> None:
    """Serves until told to stop, then exits 0; what prevents the start is said and exits 1."""
    configure_logging()
    try:
        settings = load_settings("gateway", GatewaySettings)
        configure_logging(settings.log_level)
        configure_tracing("autoglm-gateway")
        check_exposure(settings.host, insecure=settings.insecure, encrypted=settings.encrypted)
        if not is_loopback(settings.host) and not settings.api_keys:
            log.warning("anybody who reaches this server may use it; api_keys would tell them apart")
        asyncio.run(_serve(settings))
    except SettingsError as error:
        log.error("cannot start", why=str(error))
        sys.exit(1)


async def _serve(settings: GatewaySettings) -> None:
    await Server(settings).serve()


if __name__ == "__main__":
    main()
