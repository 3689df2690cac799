"""`python -m benchmarks`: measures a server from outside, alone or beside its peers."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import engine, gpu, handoff, interference, live, load, photo, serve_load, startup, versus
from benchmarks.errors import BenchmarkError
from benchmarks.options import Concurrency, Rate, TraceName, loads, named_urls
from benchmarks.report import show
from benchmarks.serve_load import Plan, Report
from benchmarks.server import Server, serving

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

Url = Annotated[str | None, typer.Option(help="A running OpenAI-compatible server; none: one is started.")]
Model = Annotated[Path | None, typer.Option(help="Bundle that a started server holds.")]
Seed = Annotated[int, typer.Option(help="Other pictures, so that no cache knows them.")]


@app.command("startup")
def startup_command(model: Model = None, runs: int = 3) -> None:
    """Process start to ready line and first token, and the time of each phase."""
    seconds, phases = startup.measure(model, runs)
    show("startup", seconds=seconds, phases=phases)


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


@app.command("engine")
def engine_command(
    size: Annotated[list[str] | None, typer.Option(help="30M or 400M; may be repeated.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="float32 or bfloat16; may be repeated.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Answers at once; may be repeated.")] = None,
    prompt_tokens: int = 32,
    new_tokens: int = 128,
    rounds: int = 3,
    threads: Annotated[int, typer.Option(help="Cores for both; 0 leaves the choice to torch.")] = 0,
) -> None:
    """The engine alone, beside transformers' `generate`: random weights, alternating runs."""
    rows = [
        row
        for one_size in size or ["30M"]
        for one_dtype in dtype or ["float32", "bfloat16"]
        for row in engine.measure(
            one_size, one_dtype, batch or [1, 8, 32], prompt_tokens, new_tokens, rounds, threads
        )
    ]
    show("engine", runs=rows, facts={"prompt_tokens": prompt_tokens, "new_tokens": new_tokens})


@app.command("serve-load")
def serve_load_command(
    url: Annotated[list[str], typer.Option(help="A server, or name=url; may be repeated.")],
    trace: TraceName = TraceName.CHAT,
    concurrency: Concurrency = "1,8,32",
    rate: Rate = "",
    rounds: int = 3,
    max_tokens: int = 128,
    length: Annotated[int, typer.Option(help="Characters of a question.")] = 32,
    model_name: Annotated[str, typer.Option(help="For servers that list no models.")] = "",
    seed: Seed = 0,
) -> None:
    """Running OpenAI servers in turns: throughput, latency, failures, and whether they agree."""
    plan = Plan(trace, loads(concurrency, rate), rounds, length=length, max_tokens=max_tokens, seed=seed)
    _show_report("serve-load", asyncio.run(serve_load.measure(named_urls(url, model_name), plan)), plan)


@app.command("versus")
def versus_command(
    size: Annotated[list[str] | None, typer.Option(help="Random checkpoint; may be repeated.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="float32 or bfloat16; may be repeated.")] = None,
    vllm: Annotated[Path | None, typer.Option(help="vLLM's virtual environment; none: without it.")] = None,
    speculate: Annotated[bool, typer.Option(help="Let ours guess ahead.")] = False,
    trace: TraceName = TraceName.CHAT,
    concurrency: Concurrency = "1,8,32",
    rate: Rate = "",
    rounds: int = 3,
    max_tokens: int = 128,
    length: Annotated[int, typer.Option(help="Characters of a question.")] = 32,
    seed: Seed = 0,
) -> None:
    """Ours beside transformers and vLLM on the same random weights, all started here."""
    plan = Plan(trace, loads(concurrency, rate), rounds, length=length, max_tokens=max_tokens, seed=seed)
    for one_size in size or ["30M"]:
        for one_dtype in dtype or ["float32"]:
            report = versus.compare(one_size, one_dtype, plan, vllm, speculate)
            _show_report("versus", report, plan, size=one_size, dtype=one_dtype, speculate=speculate)


@app.command("interference")
def interference_command(
    url: Url = None, model: Model = None, users: int = 4, pictures: int = 20, rounds: int = 3, seed: Seed = 0
) -> None:
    """Time between the tokens of running answers while pictures arrive, and while none does."""
    plan = interference.Plan(users, pictures, rounds, seed=seed)
    with _endpoint(url, model) as (where, _):
        rows, facts = asyncio.run(interference.measure(where, plan))
    show("interference", stretches=rows, rates=[facts])


@app.command("gpu")
def gpu_command(preset: str = "dummy:9b", rounds: int = 3, questions: int = 10, seed: Seed = 0) -> None:
    """A preset on a GPU: decoding, prefill, screenshot questions, cold start."""
    facts = gpu.require_gpu()
    engine_rows, memory = gpu.measure_engine(preset, rounds)
    screens, phases = asyncio.run(gpu.measure_server(preset, questions, seed))
    show("gpu", engine=engine_rows, screens=screens, start=phases, facts=facts | memory)


@app.command("live")
def live_command(
    clips: Annotated[list[Path], typer.Argument(help="Audio files; stream after stream takes the next.")],
    target: Annotated[str | None, typer.Option(help="A running speech service; none: we start one.")] = None,
    model: Model = None,
    streams: Annotated[list[int] | None, typer.Option(help="Live at once; may be repeated.")] = None,
) -> None:
    """Speech in real time: first update, lag, and the last word after the end."""
    with nullcontext(live.Service(target)) if target else live.speech_service(model) as service:
        rows = asyncio.run(live.measure(service, clips, streams or [1, 16]))
    show("live", streams=rows)


def _show_report(name: str, report: Report, plan: Plan, **facts: object) -> None:
    about = {"trace": plan.trace, "length": plan.length, "max_tokens": plan.max_tokens, "rounds": plan.rounds}
    show(name, **vars(report), facts=facts | about)


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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped on the way out
    try:
        app()
    except BenchmarkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
