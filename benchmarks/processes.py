"""Processes seen from outside, through Linux's /proc; elsewhere nothing is seen."""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Memory:
    """Resident memory of one process, in MiB: now, and at its highest."""

    now: float
    peak: float


def children(parent: int) -> dict[int, list[str]]:
    """Pid and command line of each child."""
    found = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            # The name in parentheses may hold anything, so count from behind it.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found[int(folder.name)] = (folder / "cmdline").read_text().rstrip("\0").split("\0")
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
    return found


def is_running(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def memory(pid: int) -> Memory:
    """Raises FileNotFoundError when the process is gone."""
    lines = (line.partition(":") for line in (PROC / str(pid) / "status").read_text().splitlines())
    values = {name: value for name, _, value in lines}
    return Memory(*(int(values[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")))


def cpu_seconds(pid: int) -> float:
    """What the process has computed so far, on all cores; raises FileNotFoundError when it is gone."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
