"""The log as people read it, for the length of a block."""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import structlog

from servicekit.telemetry import configure_logging


@contextmanager
def logged(level: str = "info") -> Iterator[io.StringIO]:
    """Everything that the block logs; the logging of before is back after it."""
    root, lines = logging.getLogger(), io.StringIO()
    handlers, before = root.handlers[:], root.level
    with patch.object(sys, "stderr", lines):
        configure_logging(level)
    structlog.configure(cache_logger_on_first_use=False)  # or they would log like this for ever
    try:
        yield lines
    finally:
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(before)
