"""The documents agree with the repository and with each other."""

import re
from pathlib import Path

import pytest

from cli.bundle import REPOSITORY

DOCUMENTS = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
TARGET = re.compile(r"make ([a-z][a-z0-9-]*)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_that_are_named_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    code = re.findall(r"`(make [^`]+)`|^(make .+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    named = {name for pair in code for text in pair for name in TARGET.findall(text)}
    assert named <= targets


def test_both_readmes_show_the_same_examples() -> None:
    english, chinese = (
        BLOCK.findall((REPOSITORY / name).read_text(encoding="utf-8"))
        for name in ("README.md", "README.zh-CN.md")
    )
    assert english == chinese
