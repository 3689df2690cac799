"""The merged log."""

import errno
import io
from pathlib import Path

import pytest

from cli.log import MergedLog


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_names_line_up_and_carry_no_colour_off_a_terminal() -> None:
    stream = io.StringIO()
    log = MergedLog(["llm", "vision"], stream)
    log.write("llm", "one\ntwo")
    log.write("vision", "three")
    assert stream.getvalue() == "llm    | one\nllm    | two\nvision | three\n"


def test_a_terminal_gets_a_colour_per_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    log = MergedLog(["llm", "vision"], stream)
    log.write("llm", "a")
    log.write("vision", "b")
    first, second = stream.getvalue().splitlines()
    assert first.startswith("\033[36mllm")
    assert second.startswith("\033[35mvision")


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    MergedLog(["llm"], stream).write("llm", "a")
    assert stream.getvalue() == "llm | a\n"


class FullDisk(io.StringIO):
    """A stream that takes nothing."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_lines_and_no_more() -> None:
    """Otherwise nobody would empty the children's pipes any more, and they would stand still."""
    MergedLog(["llm"], FullDisk()).write("llm", "a")


def test_what_a_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="latin-1") as stream:
        MergedLog(["llm"], stream).write("llm", "你好 \ufffd")
    assert (tmp_path / "log").read_text(encoding="latin-1") == "llm | \\u4f60\\u597d \\ufffd\n"


def test_a_closed_stream_costs_lines_and_no_more() -> None:
    stream = io.StringIO()
    log = MergedLog(["llm"], stream)
    stream.close()
    log.write("llm", "a")
