"""What goes wrong while measuring."""


class BenchmarkError(Exception):
    """No number came of it; the message says why."""
