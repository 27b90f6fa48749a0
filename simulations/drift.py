"""Time drift of the label mix: in each round a site has a window of its records, and the window moves on."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["window"]

_ROUNDING = 1e-9  # in binary 0.28 · 25 is a little above 7

Rows = np.ndarray[tuple[int], np.dtype[np.int64]]


def window(ordered: Rows, *, share: float, round: int, rounds: int) -> Rows:
    """The rows of one round, ascending, out of a site's rows `ordered` by label (n,).

    The window holds ceil(share · n) rows, at least one, in every round as many. In round t of T, counted from 1, it
    starts at row floor((t - 1) · n / T) and wraps round at the end: it goes through all labels once, at every site at
    the same pace, and each row is in a window at least once if share ≥ 1/T.

    >>> [window(np.arange(8), share=0.5, round=t, rounds=4).tolist() for t in (1, 2, 4)]
    [[0, 1, 2, 3], [2, 3, 4, 5], [0, 1, 6, 7]]
    """
    n = len(ordered)
    start = (round - 1) * n // rounds
    width = min(n, max(1, math.ceil(share * n - _ROUNDING)))
    return np.sort(ordered[np.arange(start, start + width) % max(n, 1)])
