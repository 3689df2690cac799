"""docs/grpc.md in pieces: its sections, tables and examples."""

import re
from pathlib import Path

TEXT = (Path(__file__).parents[2] / "docs/grpc.md").read_text(encoding="utf-8")
HEADING = re.compile(r"^#{2,3} (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """What stands under a heading, up to the next one."""
    _, *pieces = HEADING.split(TEXT)
    return dict(zip(pieces[::2], pieces[1::2], strict=True))[title]


def titles() -> list[str]:
    return HEADING.findall(TEXT)


def examples(language: str, text: str = TEXT) -> list[str]:
    """Code blocks of one language, in order."""
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def table(title: str, first_column: str) -> list[list[str]]:
    """Rows of the section's table whose first column has this name, without backticks."""
    rows: list[list[str]] = []
    reading = False
    for line in section(title).splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            reading = False
        elif cells[0] == first_column:
            reading = True
        elif reading and set(line) - set("|-"):
            rows.append(cells)
    return rows
