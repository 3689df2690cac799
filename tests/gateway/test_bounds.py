"""A text with more values than a conversation has is refused before it is read."""

import pytest

from gateway.bounds import MAX_VALUES, check_values
from gateway.errors import ApiError
from gateway.schemas import parse_request

NESTED = b'{"messages":[{"role":"user","content":[[' + b"[]," * MAX_VALUES + b"0]]}]}"


@pytest.mark.parametrize(
    "text", [NESTED, bytearray(NESTED), NESTED.decode()], ids=["bytes", "bytearray", "str"]
)
def test_too_many_values_are_refused_whatever_the_text_comes_as(text: bytes | bytearray | str) -> None:
    with pytest.raises(ApiError) as refused:
        check_values(text)
    assert (refused.value.status, refused.value.code) == (400, "too_many_values")


def test_a_request_is_not_read_then() -> None:
    with pytest.raises(ApiError) as refused:
        parse_request(NESTED)
    assert refused.value.code == "too_many_values"


def test_a_large_picture_has_few_values() -> None:
    check_values(b'{"messages":[{"role":"user","content":[{"url":"' + b"A" * 10_000_000 + b'"}]}]}')
