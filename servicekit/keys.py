"""Secrets that callers bring, API keys and bearer tokens alike, of which only hashes are kept.

A plain SHA-256 is enough here: a key holds 256 random bits, so there is nothing to guess that a slow or
salted hash would protect, and every request pays for the hash. It would be wrong for passwords.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from servicekit.settings import HASH_PATTERN, KeySettings, SettingsError
from servicekit.watched import Watched, read

PREFIX = "sk-autoglm-"
RANDOM_BYTES = 32
_LINE = re.compile(rf"(?P<name>\S+)\s+(?P<hash>{HASH_PATTERN})")


def new_key() -> str:
    """A fresh secret with 256 random bits."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def hash_of(key: str) -> str:
    """What is kept of a key, as the settings write it."""
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


class KeyRing:
    """The keys that open, by the hashes in the settings and in a file that may change at any time."""

    def __init__(self, settings: KeySettings):
        """Raises SettingsError when the file is missing or wrong."""
        self._fixed = settings.hashes
        file = settings.file
        self._filed = Watched([file], lambda: _read_file(file)) if file else None

    @property
    def hashes(self) -> Mapping[str, str]:
        """Hash of each key by the name of its holder."""
        return {**(self._filed.get() if self._filed else {}), **self._fixed}

    def holder(self, key: str) -> str | None:
        """Name of who holds this key; takes as long for a wrong key as for a right one."""
        presented, found = hash_of(key), None
        for name, known in self.hashes.items():
            if hmac.compare_digest(known, presented):
                found = name
        return found


def bearer(authorization: str) -> str | None:
    """The token of an Authorization header, if it holds one."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _read_file(path: Path) -> dict[str, str]:
    """Lines `name sha256:...`; empty ones and those that start with # do not count."""
    hashes: dict[str, str] = {}
    for number, line in enumerate(read(path).decode(errors="replace").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        entry = _LINE.fullmatch(line.strip())
        if entry is None:  # the line itself is not shown: it may hold a key
            raise SettingsError(f"{path}, line {number}: not `name sha256:<64 hex digits>`")
        if entry["name"] in hashes:
            raise SettingsError(f"{path}, line {number}: a second key for {entry['name']}")
        hashes[entry["name"]] = entry["hash"]
    return hashes
