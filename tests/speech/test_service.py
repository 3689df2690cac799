"""The speech service as the boot function takes it."""

import grpc

from servicekit.server import running
from services.speech.service import NAME, create_service
from services.speech.settings import SpeechSettings

SETTINGS = SpeechSettings(port=0, health_port=0, metrics_port=None)


async def test_it_carries_the_name_of_the_contract() -> None:
    service = await create_service(SETTINGS)
    assert NAME == service.name == "autoglm.speech.v1.SpeechService"
    assert service.domain == "speech.autoglm"


async def test_it_can_be_started_twice_in_one_process() -> None:
    async with (
        running(await create_service(SETTINGS), SETTINGS) as one,
        running(await create_service(SETTINGS), SETTINGS) as other,
    ):
        for server in (one, other):
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                await channel.channel_ready()
        assert one.port != other.port
