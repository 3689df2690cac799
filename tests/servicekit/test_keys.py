"""Keys are kept as hashes, found by them, and taken from a file as it is now."""

from pathlib import Path

import pytest

from servicekit import watched
from servicekit.keys import KeyRing, bearer, hash_of, new_key
from servicekit.settings import KeySettings, ServerSettings, SettingsError, load_settings


def test_every_key_is_new_and_opens_only_for_its_holder() -> None:
    first, second = new_key(), new_key()
    ring = KeyRing(KeySettings(hashes={"a": hash_of(first), "b": hash_of(second)}))
    assert (ring.holder(first), ring.holder(second)) == ("a", "b")
    assert ring.holder(new_key()) is None
    assert ring.holder("") is None


def test_the_hash_does_not_open() -> None:
    known = hash_of(new_key())
    assert KeyRing(KeySettings(hashes={"a": known})).holder(known) is None


def test_keys_in_a_file_come_and_go_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "PERIOD_S", 0.0)
    old, new = new_key(), new_key()
    file = tmp_path / "keys"
    file.write_text(f"# holders\n\nphone {hash_of(old)}\n")
    ring = KeyRing(KeySettings(file=file))
    assert ring.holder(old) == "phone"
    file.write_text(f"tablet   {hash_of(new)}\n")
    assert (ring.holder(old), ring.holder(new)) == (None, "tablet")
    file.write_text("half a li")
    assert ring.holder(new) == "tablet"


def test_a_wrong_line_is_told_by_its_number_and_not_shown(tmp_path: Path) -> None:
    key, file = new_key(), tmp_path / "keys"
    file.write_text(f"phone {hash_of(new_key())}\ntablet {key}\n")
    with pytest.raises(SettingsError, match="line 2") as refused:
        KeyRing(KeySettings(file=file))
    assert key not in str(refused.value)


def test_a_name_has_one_key(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"phone {hash_of('a')}\nphone {hash_of('b')}\n")
    with pytest.raises(SettingsError, match="second key for phone"):
        KeyRing(KeySettings(file=file))


def test_hashes_may_come_from_the_environment(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("llm: {port: 0, health_port: 0}")
    key = new_key()
    variable = {"AUTOGLM_LLM__CALLERS": f"{{tokens: {{hashes: {{phone: '{hash_of(key)}'}}}}}}"}
    settings = load_settings("llm", ServerSettings, config, variable)
    assert KeyRing(settings.callers.tokens).holder(key) == "phone"


def test_what_is_no_hash_is_refused() -> None:
    with pytest.raises(ValueError, match="pattern"):
        KeySettings(hashes={"phone": new_key()})


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", None), ("Bearer ", None), ("", None)],
)
def test_the_bearer_token_is_read_from_the_header(header: str, token: str | None) -> None:
    assert bearer(header) == token
