"""One readable log out of several processes."""

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

COLOURS = (36, 35, 33, 32, 34, 31)  # ANSI: cyan, magenta, yellow, green, blue, red


class MergedLog:
    """Writes lines with the name of the process in front, coloured on a terminal."""

    def __init__(self, names: list[str], stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        if isinstance(self._stream, io.TextIOWrapper):  # a terminal may lack characters that a service writes
            self._stream.reconfigure(errors="backslashreplace")
        width = max(map(len, names))
        coloured = self._stream.isatty() and "NO_COLOR" not in os.environ
        paints = [f"\033[{COLOURS[i % len(COLOURS)]}m" for i in range(len(names))]
        reset = "\033[0m" if coloured else ""
        self._prefixes = {
            name: f"{paint if coloured else ''}{name:<{width}}{reset} | "
            for name, paint in zip(names, paints, strict=True)
        }

    def write(self, name: str, text: str) -> None:
        """Writes one line (or several) at once."""
        self.show("\n".join(f"{self._prefixes[name]}{line}" for line in text.splitlines() or [""]))

    def show(self, text: str) -> None:
        """Writes text as it stands; what a full disk or a closed pipe does not take is lost, no more."""
        with suppress(OSError, ValueError):
            print(text, file=self._stream, flush=True)
