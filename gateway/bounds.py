"""How much structure a JSON text may have: each value of it costs many times its bytes once it is read."""

from gateway.errors import invalid

MAX_VALUES = 200_000  # a text of 128 thousand tokens has fewer commas and brackets


def check_values(text: bytes | bytearray | str) -> None:
    """Raises ApiError 400 for more values than any conversation has; what strings hold of them counts too."""
    found = map(text.count, ",[{") if isinstance(text, str) else map(text.count, (b",", b"[", b"{"))
    if sum(found) > MAX_VALUES:
        raise invalid(f"The body has more than {MAX_VALUES:,} values.", None, "too_many_values")
