"""One line of a terminal, rewritten in place, with the lines that stay printed above it."""

import os
import sys
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

__all__ = ["Screen", "fitting", "is_terminal", "resident_memory"]

OFTEN = 0.1  # seconds between two drawings of the line, at least
NARROW = 80  # columns, where the terminal does not say
ERASE = "\r\x1b[2K"

Part = tuple[int, str]  # how much it matters, and the words: the lowest number is left out first where space is short


class Screen:
    """Where progress is printed: a terminal with a status line, or plain lines (`live` false).

    A reader that leaves (`hedgerow sim | head -1`), a closed stream or an alphabet without ε ends or changes the
    printing, never the run.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        live: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        width: Callable[[], int] | None = None,
    ) -> None:
        self._stream = stream
        self._live = live
        self._clock = clock
        self._width = width or self._columns
        self._shown = ""
        self._last = float("-inf")
        self._heard = True

    @property
    def live(self) -> bool:
        """Whether there is a status line. Asked at the first use, when the stream is surely the final one."""
        if self._live is None:
            self._live = self._out is not None and is_terminal(self._out, os.environ)
        return self._live

    def print(self, text: str) -> None:
        """A line that stays."""
        erase, again = (ERASE, self._shown) if self._shown else ("", "")
        self._write(f"{erase}{text}\n{again}")

    def show(self, parts: Callable[[], Sequence[Part]]) -> None:
        """Draw the status line, unless that was done a moment ago; `parts` is asked only when it is drawn."""
        now = self._clock()
        if not self.live or not self._heard or now - self._last < OFTEN:
            return
        self._last = now
        text = fitting(parts(), self._width() - 1)
        if text != self._shown:
            self._shown = text
            self._write(f"{ERASE}{text}")

    def clear(self) -> None:
        """Take the status line away; the next `show` draws it at once."""
        if self._shown:
            self._write(ERASE)
        self._shown, self._last = "", float("-inf")

    @property
    def _out(self) -> TextIO | None:
        """Where it is printed; a process that was started with a closed stdout has none."""
        return self._stream or sys.stdout

    def _write(self, text: str) -> None:
        out = self._out
        if not self._heard or out is None:
            return
        try:
            try:
                out.write(text)
            except UnicodeEncodeError:
                alphabet = out.encoding or "ascii"
                out.write(text.encode(alphabet, "replace").decode(alphabet))
            out.flush()
        except (OSError, ValueError):  # a pipe without a reader, a terminal that hung up, a closed stream
            self._heard = False

    def _columns(self) -> int:
        out = self._out
        try:
            return (os.get_terminal_size(out.fileno()).columns or NARROW) if out is not None else NARROW
        except (OSError, ValueError):
            return NARROW


def is_terminal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a line can be rewritten there: a terminal that knows how to, and no build machine's log.

    >>> import io
    >>> is_terminal(io.StringIO(), {"TERM": "xterm"})
    False
    """
    if environment.get("TERM", "dumb") in ("", "dumb") or environment.get("CI", "") not in ("", "0", "false"):
        return False
    try:
        return stream.isatty()
    except (OSError, ValueError):
        return False


def fitting(parts: Sequence[Part], columns: int) -> str:
    """The parts side by side; where they do not fit, the least important are left out, and the rest is cut.

    >>> fitting([(9, "round 3/20"), (1, "412 MB"), (5, "accuracy 0.812")], 30)
    'round 3/20  accuracy 0.812'
    >>> fitting([(9, "round 3/20")], 8)
    'round 3/'
    """
    kept = [part for part in parts if part[1]]
    while len(kept) > 1 and _columns_of(_joined(kept)) > columns:
        kept.remove(min(kept, key=lambda part: part[0]))
    text = _joined(kept)
    while text and _columns_of(text) > columns:
        text = text[:-1]
    return text


def resident_memory() -> int | None:
    """Bytes of this process that are in memory now; None where the system does not tell (proc(5), statm)."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _joined(parts: Sequence[Part]) -> str:
    """Two spaces between the parts, one before a bracket."""
    return "".join(f"{' ' if text[0] == '(' else '  '}{text}" for _, text in parts).lstrip()


def _columns_of(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)
