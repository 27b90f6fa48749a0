"""Which rows to leave out so that no two that remain are in conflict: a vertex cover within a budget, exactly.

Sets of rows are the bits of one int. Rows that decide themselves are settled first; then the search branches on the
row with most conflicts, and gives up a branch when disjoint conflicts alone cost more than what is left.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.rows import Floats

__all__ = ["bitsets", "coverable", "members"]


def bitsets(conflicts: npt.NDArray[np.bool_]) -> list[int]:
    """Each row of a symmetric table (n, n) as the set of rows that it is in conflict with.

    >>> bitsets(np.array([[False, True, False], [True, False, True], [False, True, False]]))
    [2, 5, 2]
    """
    packed = np.packbits(conflicts, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


def members(rows: int) -> Iterator[int]:
    """The rows of a set, ascending.

    >>> list(members(0b1101))
    [0, 2, 3]
    """
    while rows:
        lowest = rows & -rows
        yield lowest.bit_length() - 1
        rows ^= lowest


def coverable(conflicts: Sequence[int], costs: Sequence[float] | Floats, rows: int, budget: float) -> bool:
    """Whether leaving out some of `rows`, of a total cost of at most `budget`, settles every conflict among them.

    Cost: O(n²) where rows decide themselves; in the worst case exponential in how many the budget pays for.

    >>> triangle = [0b110, 0b101, 0b011]
    >>> coverable(triangle, [1.0, 1.0, 1.0], 0b111, 1.0), coverable(triangle, [1.0, 1.0, 1.0], 0b111, 2.0)
    (False, True)
    """
    settled = _settle(conflicts, costs, rows, budget)
    if settled is None:
        return False
    rows, budget = settled
    if not rows:
        return True
    if _least_cost(conflicts, costs, rows) > budget:
        return False
    busiest = max(members(rows), key=lambda row: (conflicts[row] & rows).bit_count())
    rivals = conflicts[busiest] & rows
    without = rows & ~(1 << busiest)
    if coverable(conflicts, costs, without, budget - costs[busiest]):
        return True
    return coverable(conflicts, costs, without & ~rivals, budget - _cost(costs, rivals))


def _settle(
    conflicts: Sequence[int], costs: Sequence[float] | Floats, rows: int, budget: float
) -> tuple[int, float] | None:
    """The rows still in conflict and the budget left once every row that decides itself has, or None if it is spent."""
    changed = True
    while changed and budget >= 0:
        changed = False
        for row in members(rows):
            bit = 1 << row
            rivals = conflicts[row] & rows
            if not rows & bit:
                continue
            if not rivals:
                rows ^= bit
            elif _cost(costs, rivals) > budget:  # it cannot stay: its rivals would all have to go
                rows ^= bit
                budget -= costs[row]
                changed = True
            elif rivals & (rivals - 1) == 0 and costs[rivals.bit_length() - 1] <= costs[row]:  # one rival, no dearer
                rows &= ~(bit | rivals)
                budget -= costs[rivals.bit_length() - 1]
                changed = True
    return (rows, budget) if budget >= 0 else None


def _least_cost(conflicts: Sequence[int], costs: Sequence[float] | Floats, rows: int) -> float:
    """A lower bound: conflicts that share no row must each be paid, by the cheaper of the two."""
    total = 0.0
    left = rows
    for row in members(rows):
        if left >> row & 1:
            rivals = conflicts[row] & left
            if rivals:
                other = (rivals & -rivals).bit_length() - 1
                left &= ~(1 << row | 1 << other)
                total += min(costs[row], costs[other])
    return total


def _cost(costs: Sequence[float] | Floats, rows: int) -> float:
    return float(sum(costs[row] for row in members(rows)))
