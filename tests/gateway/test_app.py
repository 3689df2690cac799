"""What the app says of itself."""

from typing import Any

from gateway.schemas import ChatRequest
from tests.gateway.conftest import CHAT, Gateway


def references(node: Any) -> set[str]:
    """Every `$ref` in a document."""
    if isinstance(node, list):
        return set().union(*map(references, node))
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(references, node.values()))
    return set()


async def test_the_page_of_docs_is_served(gateway: Gateway) -> None:
    page = await gateway.http.get("/docs")
    assert page.status_code == 200
    assert "/openapi.json" in page.text


async def test_the_chat_body_is_described_and_its_references_lead_somewhere(gateway: Gateway) -> None:
    document = (await gateway.http.get("/openapi.json")).json()
    body = document["paths"][CHAT]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["properties"].keys() == ChatRequest.model_fields.keys()
    found = references(document)
    assert "#/components/schemas/Message" in found
    schemas = document["components"]["schemas"]
    assert {reference.removeprefix("#/components/schemas/") for reference in found} <= schemas.keys()


async def test_the_example_of_the_docs_is_a_good_request(gateway: Gateway) -> None:
    document = (await gateway.http.get("/openapi.json")).json()
    content = document["paths"][CHAT]["post"]["requestBody"]["content"]["application/json"]
    assert (await gateway.http.post(CHAT, json=content["example"])).status_code == 200
