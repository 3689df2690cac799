"""Tables to read and one line of JSON to keep."""

import json
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from cli.topology import available_cores

Row = dict[str, Any]


def spread(values: Sequence[float]) -> Row:
    """Median and 95th percentile."""
    p50, p95 = np.percentile(values, (50, 95))
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3)}


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
