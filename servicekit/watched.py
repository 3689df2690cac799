"""What is made of files that others replace while the process runs: certificates, lists of keys."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from servicekit.settings import SettingsError

PERIOD_S = 1.0  # between two looks at the files

log = structlog.get_logger("files")

T = TypeVar("T")
Stamp = tuple[tuple[int, int, int] | None, ...]


class Watched(Generic[T]):
    """A value made of files, and made anew when one of them changes; may be asked from any thread.

    The first `make` may raise SettingsError. Later a change that cannot be used, such as a certificate whose
    key is still to come, is logged and the value at hand stays.
    """

    def __init__(self, paths: Sequence[Path], make: Callable[[], T]):
        self._paths, self._make = paths, make
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._looked = time.monotonic()
        self._value = make()

    def get(self) -> T:
        """The value, no more than a second behind its files."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked >= PERIOD_S:
                self._looked = now
                # Before the files are read: what changes meanwhile is then seen at the next look.
                stamp = self._look()
                if stamp != self._stamp:
                    self._stamp = stamp
                    self._renew()
            return self._value

    def _renew(self) -> None:
        files = ", ".join(map(str, self._paths))
        try:
            self._value = self._make()
        except SettingsError as error:
            log.warning("changed files cannot be used, the old ones stay", files=files, why=str(error))
        else:
            log.info("changed files read", files=files)

    def _look(self) -> Stamp:
        return tuple(_stamp_of(path) for path in self._paths)


def read(path: Path) -> bytes:
    """Content of a file; SettingsError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
