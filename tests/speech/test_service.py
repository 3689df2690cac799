"""The speech service as the boot function takes it."""

from pathlib import Path

import grpc
import pytest

from servicekit.server import running
from servicekit.settings import SettingsError
from services.speech.service import NAME, create_service
from services.speech.settings import SpeechSettings


def settings(bundle: Path) -> SpeechSettings:
    return SpeechSettings(port=0, health_port=0, metrics_port=None, model=bundle, device="cpu")


async def test_it_carries_the_name_of_the_contract(bundle: Path) -> None:
    service = await create_service(settings(bundle))
    assert NAME == service.name == "autoglm.speech.v1.SpeechService"
    assert service.domain == "speech.autoglm"


async def test_it_can_be_started_twice_in_one_process(bundle: Path) -> None:
    own = settings(bundle)
    async with (
        running(await create_service(own), own) as one,
        running(await create_service(own), own) as other,
    ):
        for server in (one, other):
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                await channel.channel_ready()
        assert one.port != other.port


async def test_a_folder_without_a_recogniser_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"speech\.model: .*config\.json cannot be read"):
        await create_service(settings(tmp_path))
