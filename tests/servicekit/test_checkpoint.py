"""What every model's folder is checked for."""

from pathlib import Path

import pytest

from servicekit.checkpoint import (
    CheckpointError,
    architecture_of,
    check_shapes,
    fingerprint,
    read_config,
    read_json,
)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("{", "is not JSON"), ("[1]", "holds no object"), (None, "cannot be read: No such")],
)
def test_a_file_that_holds_no_object_is_named(tmp_path: Path, content: str | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=rf"config\.json {complaint}"):
        read_json(tmp_path / "config.json")


@pytest.mark.parametrize("named", [None, [], 3, "Glm4"])
def test_a_config_without_a_list_of_classes_names_nothing(named: object) -> None:
    assert architecture_of({"architectures": named}) == "nothing"


def test_a_config_of_another_class_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"architectures": ["Ours"], "depth": 3}')
    assert read_config(path, "Ours")["depth"] == 3
    with pytest.raises(CheckpointError, match="architecture Ours is not served here; Theirs is"):
        read_config(path, "Theirs")


def test_shapes_that_fit_are_accepted() -> None:
    check_shapes(Path("w"), {"a": (1, 2)}, {"a": (1, 2)})


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ({}, "w: missing a$"),
        ({"a": (1, 2), "b": ()}, "w: unexpected b$"),
        ({"a": (2, 1)}, r"w: a is \[2, 1\] instead of \[1, 2\]$"),
        ({f"b{index}": () for index in range(7)}, "missing a; unexpected b0; .*b3 and 3 more$"),
    ],
)
def test_shapes_that_do_not_fit_are_named(found: dict[str, tuple[int, ...]], complaint: str) -> None:
    with pytest.raises(CheckpointError, match=complaint):
        check_shapes(Path("w"), found, {"a": (1, 2)})


def test_a_fingerprint_follows_every_file_and_all_that_is_said_beside_them(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"ab")
    other.write_bytes(b"c")
    first = fingerprint("tiny", (one, other), b"v1")
    assert first == fingerprint("tiny", (one, other), b"v1")
    assert first.startswith("tiny@")
    assert len(first) == len("tiny@") + 16
    assert first != fingerprint("tiny", (one, other), b"v2")
    one.write_bytes(b"a")
    other.write_bytes(b"bc")
    assert first != fingerprint("tiny", (one, other), b"v1")
