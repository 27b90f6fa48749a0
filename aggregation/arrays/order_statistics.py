"""Middle order statistics of many short columns at once, the inner loop of the coordinate rules.

Of few rows, a sorting network runs on whole rows of a block: each comparison is one vector minimum and one vector
maximum, and comparisons on which no wanted rank depends are never made. Of more rows, columns are laid side by side and
sorted one by one: the network grows faster than a sort. Its many short calls also keep other threads from Python, so
within a thread of several it is for very few rows only. Either way gives the same values.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.threads import busy

__all__ = ["middle_ranks", "sum_of_ranks", "threads_pay"]

Ranks = Sequence[npt.NDArray[np.floating]]

_ALONE, _AMONG = 40, 8  # rows up to which the network is faster, by itself and in one of several threads
_WIDE = 64  # columns
_TURNED = 32  # rows that are laid side by side at once, twice as fast as all of them


def threads_pay(n: int, threads: int) -> bool:
    """Whether so many threads that sort the columns of `n` rows are faster than one that runs the network.

    >>> threads_pay(20, 1), threads_pay(20, 2), threads_pay(20, 4), threads_pay(50, 2)
    (False, False, True, True)
    """
    return threads > 1 and n > _AMONG + 32 // threads


def middle_ranks(rows: npt.NDArray[np.floating], low: int, high: int) -> Ranks:
    """For each column of `rows` (n, b), its values of rank `low` up to, but not including, `high`, smallest first.

    Rows must hold no NaN. Cost: O(n log² n) vector operations of length b, or O(b n log n).

    >>> [row.tolist() for row in middle_ranks(np.array([[3.0, 1.0], [1.0, 5.0], [2.0, 0.0]]), 0, 2)]
    [[1.0, 0.0], [2.0, 1.0]]
    """
    n = len(rows)
    if n > (_AMONG if busy() else _ALONE):
        ordered = np.empty((rows.shape[1], n), rows.dtype)
        for top in range(0, n, _TURNED):
            ordered[:, top : top + _TURNED] = rows[top : top + _TURNED].T
        ordered.sort(axis=1)
        middle = np.empty((high - low, len(ordered)), rows.dtype)
        for top in range(0, high - low, _TURNED):
            middle[top : top + _TURNED] = ordered[:, low + top : min(low + top + _TURNED, high)].T
        return cast(Ranks, middle)
    lanes = list(rows.copy())
    spare = np.empty_like(lanes[0])
    for first, second, smaller, larger in _network(n, low, high):
        if smaller and larger:
            np.minimum(lanes[first], lanes[second], out=spare)
            np.maximum(lanes[first], lanes[second], out=lanes[second])
            lanes[first], spare = spare, lanes[first]
        elif smaller:
            np.minimum(lanes[first], lanes[second], out=lanes[first])
        else:
            np.maximum(lanes[first], lanes[second], out=lanes[second])
    return lanes[low:high]


def sum_of_ranks(ranks: Ranks) -> npt.NDArray[np.float64]:
    """The sum `(b,)` in float64 of what `middle_ranks` gave, added smallest first.

    >>> sum_of_ranks(middle_ranks(np.array([[3.0, 1.0], [1.0, 5.0], [2.0, 0.0]]), 0, 2)).tolist()
    [3.0, 1.0]
    """
    if isinstance(ranks, np.ndarray) and ranks.shape[1] >= _WIDE:  # narrower ones numpy would add in pairs
        together: npt.NDArray[np.float64] = np.add.reduce(ranks, axis=0, dtype=np.float64)
        return together
    total = np.zeros(len(ranks[0]))
    wide = np.empty_like(total)
    for lane in ranks:  # copied first: numpy casts inside a sum by small pieces
        np.copyto(wide, lane)
        total += wide
    return total


@lru_cache(maxsize=256)
def _network(n: int, low: int, high: int) -> tuple[tuple[int, int, bool, bool], ...]:
    """Comparisons `(first, second, smaller wanted, larger wanted)` that put ranks `low..high` in their places."""
    wanted = set(range(low, high))
    kept = []
    for first, second in reversed(_merge_exchange(n)):
        if first in wanted or second in wanted:
            kept.append((first, second, first in wanted, second in wanted))
            wanted |= {first, second}
    return tuple(reversed(kept))


def _merge_exchange(n: int) -> list[tuple[int, int]]:
    """Batcher's network for any `n`. Source: Knuth, The Art of Computer Programming 3, section 5.2.2, Algorithm M."""
    pairs: list[tuple[int, int]] = []
    top = 1 << max((n - 1).bit_length() - 1, 0)
    p = top
    while p > 0:
        q, r, distance = top, 0, p
        while True:
            pairs += [(i, i + distance) for i in range(n - distance) if i & p == r]
            if q == p:
                break
            distance, q, r = q - p, q // 2, p
        p //= 2
    return pairs
