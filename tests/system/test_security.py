"""All four processes over mutual TLS and HTTPS: who belongs is served, who does not is refused by name."""

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from autoglm.llm.v1 import llm_pb2, llm_pb2_grpc
from autoglm.vision.v1 import vision_pb2, vision_pb2_grpc
from benchmarks.pictures import solid
from benchmarks.server import Server, serving
from cli.client import Gateway, GatewayError, user_message
from servicekit.channel import open_channel
from servicekit.errors import from_rpc_error
from servicekit.keys import hash_of, new_key
from servicekit.settings import TLSSettings
from tests.bundles import write_llm_bundle, write_vision_bundle
from tests.certificates import Certificates

pytestmark = pytest.mark.system

KEY = new_key()
CALLERS = {"vision": ["llm", "gateway"], "speech": ["llm", "gateway"], "llm": ["gateway"]}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.create(tmp_path_factory.mktemp("security") / "certs")


@pytest.fixture(scope="module")
def secure_server(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("models")
    write_vision_bundle(folder)
    bundle = write_llm_bundle(folder).parent
    settings = {
        f"AUTOGLM_{name.upper()}__TLS": certificates.mutual(name).model_dump_json(exclude_none=True)
        for name in (*CALLERS, "gateway")
    }
    settings |= {
        f"AUTOGLM_{name.upper()}__CALLERS": json.dumps({"allowed": names}) for name, names in CALLERS.items()
    }
    settings["AUTOGLM_GATEWAY__HTTPS"] = certificates.pair("gateway").model_dump_json()
    settings["AUTOGLM_GATEWAY__API_KEYS"] = json.dumps({"hashes": {"phone": hash_of(KEY)}})
    with serving(bundle, settings) as server:
        yield server


def test_a_question_with_a_picture_crosses_all_processes(
    secure_server: Server, certificates: Certificates, tmp_path: Path
) -> None:
    picture = tmp_path / "red.png"
    picture.write_bytes(solid((200, 30, 30)))
    url = secure_server.url.replace("http:", "https:")
    with Gateway(url, api_key=KEY, ca=certificates.ca) as gateway:
        completion = gateway.answer([user_message("?", [picture])], max_tokens=4)
    [medium] = completion["autoglm"]["receipt"]["media"]
    assert medium["source"] == "MEDIA_SOURCE_ENCODED"
    with (
        Gateway(url, api_key=new_key(), ca=certificates.ca) as stranger,
        pytest.raises(GatewayError, match="HTTP 401"),
    ):
        stranger.model()


async def test_a_caller_that_is_not_on_the_list_is_refused_by_name(
    secure_server: Server, certificates: Certificates
) -> None:
    for service in ("vision", "llm"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await _get_model(secure_server, service, certificates.mutual("client"))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert from_rpc_error(refused.value).reason == "CALLER_NOT_ALLOWED"
        await _get_model(secure_server, service, certificates.mutual("gateway"))


async def test_no_service_speaks_plaintext(secure_server: Server) -> None:
    for service in ("vision", "llm"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await _get_model(secure_server, service, None)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def _get_model(server: Server, service: str, tls: TLSSettings | None) -> None:
    async with open_channel(server.target(service), tls=tls) as channel:
        if service == "vision":
            await vision_pb2_grpc.VisionServiceStub(channel).GetModel(vision_pb2.GetModelRequest(), timeout=5)
        else:
            await llm_pb2_grpc.LLMServiceStub(channel).GetModel(llm_pb2.GetModelRequest(), timeout=5)
