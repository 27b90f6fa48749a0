"""Middle order statistics of many short columns at once, the inner loop of the coordinate rules.

Up to 64 rows, a sorting network runs on whole rows of a block: each comparison is one vector minimum and one vector
maximum, and comparisons on which no wanted rank depends are never made. Above that, columns are sorted one by one.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = ["middle_ranks"]

_NETWORK_ROWS = 64


def middle_ranks(rows: npt.NDArray[np.floating], low: int, high: int) -> list[npt.NDArray[np.floating]]:
    """For each column of `rows` (n, b), its values of rank `low` up to, but not including, `high`, smallest first.

    Rows must hold no NaN. Cost: O(n log² n) vector operations of length b, or O(b n log n).

    >>> [row.tolist() for row in middle_ranks(np.array([[3.0, 1.0], [1.0, 5.0], [2.0, 0.0]]), 0, 2)]
    [[1.0, 0.0], [2.0, 1.0]]
    """
    n = len(rows)
    if n > _NETWORK_ROWS:
        ordered = np.ascontiguousarray(rows.T)
        ordered.sort(axis=1)
        return list(np.ascontiguousarray(ordered[:, low:high].T))
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
