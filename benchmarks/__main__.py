"""`python -m benchmarks`: start-up, photo questions, load, and the hand-off of embeddings."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import handoff, load, photo, startup
from benchmarks.errors import BenchmarkError
from benchmarks.report import show
from benchmarks.server import Server, serving

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

Url = Annotated[str | None, typer.Option(help="A running OpenAI-compatible server; none: one is started.")]
Model = Annotated[Path | None, typer.Option(help="Bundle that a started server holds.")]
Seed = Annotated[int, typer.Option(help="Other pictures, so that no cache knows them.")]


@app.command("startup")
def startup_command(model: Model = None, runs: int = 3) -> None:
    """Process start to ready line."""
    show("startup", seconds=startup.measure(model, runs))


@app.command("photo")
def photo_command(
    url: Url = None,
    model: Model = None,
    count: Annotated[int, typer.Option(help="Different photos.")] = 30,
    width: int = 1600,
    height: int = 1200,
    seed: Seed = 0,
) -> None:
    """Time to the first token and to the last: new photo, seen photo, text only."""
    with _endpoint(url, model) as (where, _):
        rows = asyncio.run(photo.measure(where, count, width, height, seed))
    show("photo", questions=rows, facts={"width": width, "height": height})


@app.command("load")
def load_command(
    url: Url = None,
    model: Model = None,
    at_once: Annotated[list[int] | None, typer.Option(help="Size of a burst; may be repeated.")] = None,
    seed: Seed = 0,
) -> None:
    """Bursts of picture questions: answers, refusals, losses, memory."""
    with _endpoint(url, model) as (where, server):
        bursts, memory = asyncio.run(load.measure(where, at_once or [50, 500], seed, server))
    show("load", bursts=bursts, memory=memory)


@app.command("handoff")
def handoff_command(model: Model = None, count: int = 20, wide_count: int = 5, seed: Seed = 0) -> None:
    """Vision to llm, as a share of the time to the first token: a few KiB and 26 MiB."""
    show("handoff", embeddings=asyncio.run(handoff.measure(model, count, wide_count, seed)))


@contextmanager
def _endpoint(url: str | None, model: Path | None) -> Iterator[tuple[str, Server | None]]:
    """The server named, or one of our own for the length of a block."""
    if url:
        yield url, None
        return
    with serving(model) as server:
        yield server.url, server


def main() -> None:
    """Runs a command; what prevents a measurement is said and exits 1."""
    try:
        app()
    except BenchmarkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
