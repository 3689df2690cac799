"""A bar on the terminal while weights are read."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


@contextmanager
def reading_bar(parameters: int) -> Iterator[Callable[[int], None]]:
    """Call what it gives with how many more were read; nothing is drawn where stderr is no terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("Reading weights", total=parameters)
        yield lambda count: bar.advance(task, count)
