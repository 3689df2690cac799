"""Tables to read and one line of JSON to keep."""

import json
import platform
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from cli.topology import available_cores

Row = dict[str, Any]


def spread(values: Sequence[float], *percents: int) -> Row:
    """The percentiles asked for; else the median and the 95th."""
    percents = percents or (50, 95)
    found = np.percentile(values, percents)
    return {f"p{percent}": round(float(value), 3) for percent, value in zip(percents, found, strict=True)}


def spread_ms(name: str, seconds: Sequence[float], *percents: int) -> Row:
    """The same in milliseconds, as columns of a table; 0 where nothing was measured."""
    found = spread([second * 1e3 for second in seconds] or [0.0], *percents)
    return {f"{name}_{percent}_ms": round(value, 1) for percent, value in found.items()}


def tell(line: str) -> None:
    """Says how far it is, where it is in nobody's way."""
    print(line, file=sys.stderr, flush=True)


def show(benchmark: str, /, *, facts: Row | None = None, **tables: Sequence[Row]) -> None:
    """Prints each table of rows with the same keys, then everything as the last line."""
    console = Console(width=120)
    for name, rows in tables.items():
        if rows:
            console.print(_table(f"{benchmark}: {name}", rows))
    machine = {"system": platform.platform(), "cores": available_cores()}
    print(json.dumps({"benchmark": benchmark, "machine": machine, **(facts or {}), **tables}))


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    for key, value in rows[0].items():
        table.add_column(key.replace("_", " "), justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*map(str, row.values()))
    return table
