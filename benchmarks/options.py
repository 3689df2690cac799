"""What several commands are asked in the same words."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from benchmarks.serve_load import Endpoint, Load


class TraceName(StrEnum):
    """The traces of `benchmarks.traces`."""

    CHAT = "chat"
    TURNS = "turns"
    SYSTEM = "system"
    PICTURE = "picture"


Concurrency = Annotated[str, typer.Option(help="Users at a time (closed loop), with commas.")]
Rate = Annotated[str, typer.Option(help="Sessions per second (open loop), with commas.")]


def loads(concurrency: str, rate: str) -> list[Load]:
    """Closed loops, then open ones; raises BadParameter for what is no number above 0."""
    try:
        found = [Load(at_once=int(number)) for number in _split(concurrency)]
        found += [Load(per_second=float(number)) for number in _split(rate)]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if not found or any(load.at_once <= 0 and load.per_second <= 0 for load in found):
        raise typer.BadParameter("There must be a load, and each above 0.")
    return found


def named_urls(urls: Sequence[str], model: str) -> list[Endpoint]:
    """`name=url`, or a url that is its own name."""
    pairs = (url.partition("=") for url in urls)
    return [Endpoint(name, url or name, model) for name, _, url in pairs]


def _split(numbers: str) -> list[str]:
    return [number for number in numbers.split(",") if number.strip()]
