"""How every verb answers: words for people, or one JSON envelope on stdout, and a stable exit code.

`{"schema_version": 1, "status": "ok" | "error", "exit_code": 0, "data": {…} | "error": {"code", "message", "hint"}}`

An error also has a `place`, empty where there is none, and that of `hedgerow check` has all `findings`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | internal error, or a process ended before its time |
| 2 | the command line, the job, the project or the data cannot be used as they are |
| 3 | a site refused |
| 4 | an update was rejected |
| 5 | something was tampered with |
| 6 | no budget, quorum, time or space is left, or a gate failed |
| 130 | interrupted |
"""

import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from hedgerow.cli.extras import missing_extra
from hedgerow.errors import CODES, HedgerowError

__all__ = ["INTERRUPTED", "Failed", "answer", "fail", "failed_after"]

SCHEMA = 1
INTERRUPTED = 130

Data = Mapping[str, Any]


class Failed(Exception):
    """More to say about an error than its own words: `words` for people, and `details` for the envelope's error."""

    def __init__(self, error: HedgerowError, *, words: str, details: Data) -> None:
        super().__init__(str(error))
        self.error = error
        self.words = words
        self.details = details


def answer(as_json: bool, work: Callable[[], tuple[Data, str]], *, again: Callable[[], str] = str) -> None:
    """Do a verb's work and print its answer; `work` returns the envelope's data and the words.

    With JSON, whatever else is printed meanwhile, also by a project's own code, goes to stderr. `again` says how to go
    on after an interruption, empty where there is nothing to go on with. If the work fails, exits with the error's
    code.
    """
    try:
        with _stdout_kept_clean() if as_json else contextlib.nullcontext():
            data, words = work()
    except Failed as failed:
        error = failed.error
        fail(
            as_json,
            error.code,
            error.message,
            place=error.place,
            hint=error.hint,
            exit_code=error.exit_code,
            words=failed.words,
            details=failed.details,
        )
    except HedgerowError as error:
        fail(as_json, error.code, error.message, place=error.place, hint=error.hint, exit_code=error.exit_code)
    except KeyboardInterrupt:
        fail(as_json, "E901", CODES["E901"], hint=again(), exit_code=INTERRUPTED)
    except (Exception, SystemExit) as error:
        lacking = missing_extra(error)
        if lacking is not None:
            fail(as_json, lacking.code, lacking.message, hint=lacking.hint, exit_code=lacking.exit_code)
        if os.environ.get("HEDGEROW_DEBUG"):
            traceback.print_exc()
        hint = "if the place is not in your own code, this is a bug; HEDGEROW_DEBUG=1 shows the whole way there"
        message = f"{type(error).__name__}: {error}"
        fail(as_json, "E900", message, place=_last_place(error), hint=hint, exit_code=1)
    if as_json:
        _envelope({"status": "ok", "exit_code": 0, "data": data})
    elif words:
        _print(words)


def failed_after(words: str, error: HedgerowError, data: Data, *, quiet: bool) -> Failed:
    """The failure of work that has an answer all the same: its words are printed, its data go into the envelope."""
    if not quiet:
        with contextlib.suppress(BrokenPipeError):
            print(words, flush=True)
    return Failed(error, words="", details=data)


def fail(
    as_json: bool,
    code: str,
    message: str,
    *,
    place: str = "",
    hint: str = "",
    exit_code: int,
    words: str = "",
    details: Data | None = None,
) -> NoReturn:
    """Print an error and exit. `words` stand in for its own words, `details` are added to the envelope's error."""
    with contextlib.suppress(ValueError):  # from another thread than the main one signals cannot be set
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not cut the answer short
    if as_json:
        error = {"code": code, "message": message, "place": place, "hint": hint, **(details or {})}
        _envelope({"status": "error", "exit_code": exit_code, "error": error})
    else:
        where = f"\n  at {place}" if place else ""
        next_step = f"\n  {hint}" if hint else ""
        with contextlib.suppress(BrokenPipeError):
            print(words or f"{code} {message}{where}{next_step}", file=sys.stderr)
    sys.exit(exit_code)


def _envelope(body: Data) -> None:
    _print(json.dumps({"schema_version": SCHEMA, **body}, allow_nan=False))


def _print(text: str) -> None:
    """Print to a reader that may have left (`hedgerow ls | head -1`)."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end


@contextlib.contextmanager
def _stdout_kept_clean() -> Iterator[None]:
    """Send stdout to stderr, for this process and those that it starts."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _last_place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
