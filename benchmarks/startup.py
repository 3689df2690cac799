"""From the start of `autoglm serve` to its ready line."""

from pathlib import Path

from benchmarks.report import Row, spread
from benchmarks.server import serving


def measure(model: Path | None, runs: int) -> list[Row]:
    """Each run is a server of its own; the first may find files that no cache holds."""
    seconds = []
    for _ in range(runs):
        with serving(model) as server:
            seconds.append(server.ready_s)
    return [{"runs": runs, "first": round(seconds[0], 3), **spread(seconds)}]
