"""When a simulated round closes: the policy of `hedgerow.server.PolicyGrid`, on arrivals that are known beforehand."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["close"]


def close(
    arrivals: NDArray[np.float64], *, quorum: int, grace: float, deadline: float, over_select: float = 0.0
) -> tuple[float, NDArray[np.bool_]]:
    """How many seconds the round takes, and whose answers are in time, (k,).

    `arrivals` (k,) are seconds after the round's start; inf for an answer that never comes. The round closes when
    everyone asked has answered; or `grace` seconds after the `quorum`-th answer; or at the `deadline`; or, with
    `over_select`, as soon as as many have answered as would have been asked without it (and the quorum). What arrives
    at the very moment is in time. A coordinator cannot know that nobody will answer any more: it waits.

    Guarantee: what PolicyGrid does, if it looked without pause and every answer counted. O(k).

    >>> seconds, taken = close(np.array([1.0, 9.0, 4.0, np.inf]), quorum=2, grace=3, deadline=60)
    >>> seconds, taken.tolist()
    (7.0, [True, False, True, False])
    """
    asked = len(arrivals)
    if not asked:
        return 0.0, np.zeros(0, bool)
    closes = min(deadline, _nth(arrivals, quorum) + grace, float(arrivals.max()))
    if over_select:
        closes = min(closes, _nth(arrivals, max(math.ceil(asked / (1 + over_select) - 1e-9), quorum)))
    return closes, arrivals <= closes


def _nth(arrivals: NDArray[np.float64], n: int) -> float:
    """When the n-th answer (counted from 1) comes."""
    return float(np.partition(arrivals, n - 1)[n - 1]) if 1 <= n <= len(arrivals) else math.inf
