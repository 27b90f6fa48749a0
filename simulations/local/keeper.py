"""Ends a local federation whose owner died without cleaning up (killed, or out of memory).

Started by `Processes` with the federation's mark. Its standard input is a pipe on which the owner says the process
groups that it started. When the pipe closes, the owner is dead: one that lives kills its keeper first.
"""

import os
import signal
import sys
from collections.abc import Iterable

from hedgerow.simulations.local.processes import MARKS_CAN_BE_READ, end_processes

__all__ = ["keep"]


def keep(lines: Iterable[str], mark: str, *, grace: float = 5.0) -> None:
    """Wait until the owner dies, then end what it left behind."""
    groups = [int(line) for line in lines]
    end_processes(mark, grace=grace)
    for group in () if MARKS_CAN_BE_READ else groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the owner's terminal may be closing
        signal.signal(number, signal.SIG_IGN)
    keep(sys.stdin, sys.argv[1])
