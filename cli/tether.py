"""Runs a command that cannot outlive its parent: `tether.py PARENT_PID COMMAND...`.

A program of its own instead of a `preexec_fn`, which is unsafe in a parent that has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2); kept across execve


def main() -> None:
    """Asks the kernel for SIGKILL at the parent's death, then becomes the command."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it died before the request was made
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
