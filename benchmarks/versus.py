"""Our server beside its peers: the same random checkpoint, started here, asked in turns."""

import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks import peers
from benchmarks.checkpoints import SHAPES, save_checkpoint
from benchmarks.serve_load import Plan, Report, measure


def compare(size: str, dtype: str, plan: Plan, vllm: Path | None, speculate: bool) -> Report:
    """Ours first, then transformers and, with its virtual environment at hand, vLLM."""
    with tempfile.TemporaryDirectory() as parent, ExitStack() as stack:
        folder = Path(parent) / size
        save_checkpoint(folder, SHAPES[size])
        endpoints = [
            stack.enter_context(peers.ours(folder, dtype, speculate)),
            stack.enter_context(peers.transformers(folder, dtype)),
        ]
        if vllm:
            endpoints.append(stack.enter_context(peers.vllm(folder, dtype, vllm)))
        return asyncio.run(measure(endpoints, plan))
