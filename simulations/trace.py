"""Availability as a table says it: rows `site,from,until`, in simulated seconds.

Traces of real devices come in this form; see Lai et al., "FedScale: Benchmarking Model and System Performance of
Federated Learning at Scale", ICML 2022, §3.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hedgerow.errors import Misconfigured

__all__ = ["HEADER", "Trace", "read_trace"]

HEADER = ("site", "from", "until")

Session = tuple[int, float, float]  # site, from, until


class Trace:
    """Each site is there from `from` until just before `until`; a site without a row is never there.

    `sessions` (site, from, until) may overlap and stand in any order. O(n log n) to build, then O(log n) a site asked.
    """

    def __init__(self, sessions: Sequence[Session], *, sites: int) -> None:
        merged = list(_merged(sorted(sessions)))
        owners = np.array([site for site, _, _ in merged], np.int64)
        # A last session that never comes, so that a search beyond the end finds something.
        self._starts = np.array([start for _, start, _ in merged] + [np.inf])
        self._ends = np.array([end for _, _, end in merged] + [np.inf])
        self._offsets = np.searchsorted(owners, np.arange(sites + 1))

    def state(
        self, sites: NDArray[np.int64], times: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """As `Availability.state`."""
        first, beyond = self._offsets[sites], self._offsets[sites + 1]
        low, high = first.copy(), beyond.copy()
        while (open_ := low < high).any():  # a binary search for every site at once
            middle = (low + high) // 2
            begun = open_ & (self._starts[middle] <= times)
            low, high = np.where(begun, middle + 1, low), np.where(open_ & ~begun, middle, high)
        there = (low > first) & (times < self._ends[low - 1])
        returns = np.where(low < beyond, self._starts[low], np.inf)
        return there, np.where(there, self._ends[low - 1], returns)


def read_trace(path: Path, *, sites: int, names: Sequence[str] = ()) -> Trace:
    """Read a trace. A site is called by its name, or else by its index from 0; `until` may be `inf`.

    Raises:
        Misconfigured: E120 if the file is missing, no UTF-8, or damaged, with the line.
    """
    known = {str(index): index for index in range(sites)} | {name: index for index, name in enumerate(names[:sites])}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        hint = "the path starts at the project's folder"
        raise Misconfigured(
            "E120", f"there is no trace '{path.name}' here", place=str(path.parent), hint=hint
        ) from None
    except UnicodeDecodeError:
        raise Misconfigured("E120", f"{path.name} is not text in UTF-8", place=path.name) from None
    except OSError as error:
        raise Misconfigured("E120", f"{path.name} cannot be read: {error.strerror}", place=path.name) from None
    rows = csv.reader(text.splitlines())
    if tuple(word.strip() for word in next(rows, [])) != HEADER:
        raise Misconfigured("E120", "the first line must be site,from,until", place=f"{path.name}:1")
    try:
        return Trace([_session(row, known, f"{path.name}:{rows.line_num}") for row in rows if row], sites=sites)
    except csv.Error as error:
        raise Misconfigured("E120", f"not a table: {error}", place=f"{path.name}:{rows.line_num}") from None


def _session(row: list[str], known: dict[str, int], place: str) -> Session:
    words = [word.strip() for word in row]
    if len(words) != len(HEADER):
        raise Misconfigured("E120", f"{len(words)} values instead of site,from,until", place=place)
    if words[0] not in known:
        hint = f"sites are named as in the report, or counted from 0 to {max(known.values())}"
        raise Misconfigured("E120", f"there is no site {ascii(words[0][:64])}", place=place, hint=hint)
    try:
        start, end = float(words[1]), float(words[2])
    except ValueError:
        start, end = math.nan, math.nan
    if not 0 <= start < end or start == math.inf:
        raise Misconfigured(
            "E120",
            f"from {ascii(words[1][:64])} until {ascii(words[2][:64])} is no stretch of time",
            place=place,
            hint="state seconds from 0 on, `until` after `from`; the last may be inf",
        )
    return known[words[0]], start, end


def _merged(sessions: list[Session]) -> Iterator[Session]:
    """Sessions in order, those of a site that touch or overlap made one."""
    current: Session | None = None
    for site, start, end in sessions:
        if current is None or site != current[0] or start > current[2]:
            if current is not None:
                yield current
            current = (site, start, end)
        else:
            current = (site, current[1], max(current[2], end))
    if current is not None:
        yield current
