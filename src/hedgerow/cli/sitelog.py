"""What simulated sites log about their own failures, for the terminal: one line per kind of failure, not per round.

On a real site the log is its operator's and whole. A simulation has all sites' words in one place, where a thousand
sites that fail alike in each round would say the same a hundred thousand times.
"""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from hedgerow.errors import HedgerowError

__all__ = ["failures_once"]

SAID_BY = ("hedgerow.client", "hedgerow.simulations")  # our sites, and other people's in this process


class Once(logging.Handler):
    """Prints a failure the first time that it happens at its place in the code."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage()
        kind = f"{record.msg} {_code(record)}"
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            last = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} {last.filename}:{last.lineno}"
            words = f"{words}: {type(error).__name__}: {error}\n  at {last.filename}:{last.lineno}"
        if kind not in self._seen:
            self._seen.add(kind)
            again = "failures of this kind are said once; HEDGEROW_DEBUG=1 says each"
            print(f"{words}\n  {again}", file=self._stream or sys.stderr, flush=True)


def _code(record: logging.LogRecord) -> str:
    """The code of the error among the record's arguments; its words where there is none."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    codes = [argument.code for argument in arguments if isinstance(argument, HedgerowError)]
    return codes[0] if codes else record.getMessage()


@contextmanager
def failures_once(stream: TextIO | None = None) -> Iterator[None]:
    """Say each kind of failure of a site once, on stderr; all of it with HEDGEROW_DEBUG."""
    if os.environ.get("HEDGEROW_DEBUG"):
        yield
        return
    handler = Once(stream)
    loggers = [logging.getLogger(name) for name in SAID_BY]
    before = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, propagated in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.propagate = propagated
