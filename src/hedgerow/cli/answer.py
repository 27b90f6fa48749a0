"""How every verb answers: words for people, or one JSON envelope on stdout, and a stable exit code.

`{"schema_version": 1, "status": "ok" | "error", "exit_code": 0, "data": {…} | "error": {"code", "message", "hint"}}`

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | internal error |
| 2 | the command line, the job, the project or the data cannot be used as they are |
| 3 | a site refused |
| 4 | an update was rejected |
| 5 | something was tampered with |
| 6 | no budget, quorum, time or space is left, or a gate failed |
| 130 | interrupted |
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from hedgerow.errors import CODES, HedgerowError

__all__ = ["INTERRUPTED", "answer", "fail"]

SCHEMA = 1
INTERRUPTED = 130

Data = Mapping[str, Any]


def answer(as_json: bool, work: Callable[[], tuple[Data, str]]) -> None:
    """Do a verb's work and print its answer; `work` returns the envelope's data and the words.

    Exits with the error's code if the work fails.
    """
    try:
        data, words = work()
    except HedgerowError as error:
        fail(as_json, error.code, error.message, place=error.place, hint=error.hint, exit_code=error.exit_code)
    except KeyboardInterrupt:
        hint = "what was finished is kept; go on with: hedgerow resume"
        fail(as_json, "E901", CODES["E901"], hint=hint, exit_code=INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("HEDGEROW_DEBUG"):
            traceback.print_exc()
        hint = "this is a bug; HEDGEROW_DEBUG=1 shows where it happened"
        fail(as_json, "E900", f"{type(error).__name__}: {error}", hint=hint, exit_code=1)
    if as_json:
        _envelope({"status": "ok", "exit_code": 0, "data": data})
    elif words:
        print(words)


def fail(as_json: bool, code: str, message: str, *, place: str = "", hint: str = "", exit_code: int) -> NoReturn:
    """Print an error and exit."""
    if as_json:
        error = {"code": code, "message": message, "place": place, "hint": hint}
        _envelope({"status": "error", "exit_code": exit_code, "error": error})
    else:
        where = f"\n  at {place}" if place else ""
        next_step = f"\n  {hint}" if hint else ""
        print(f"{code} {message}{where}{next_step}", file=sys.stderr)
    sys.exit(exit_code)


def _envelope(body: Data) -> None:
    print(json.dumps({"schema_version": SCHEMA, **body}, allow_nan=False), flush=True)
