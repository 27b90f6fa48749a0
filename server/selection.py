"""Which of the connected nodes a round asks."""

import math
from collections.abc import Sequence

import numpy as np

from hedgerow.job import Cohort

__all__ = ["select"]


def select(cohort: Cohort, nodes: Sequence[int], rng: np.random.Generator) -> list[int]:
    """A round's cohort from the connected `nodes`, in ascending order: the fraction that the job asks for, some more in
    case they stay silent, and never fewer than the quorum while there are as many.

    >>> select(Cohort(fraction=0.5, quorum=2), [7, 3, 5, 9], np.random.default_rng(0))
    [7, 9]
    """
    ordered = sorted(nodes)
    wanted = math.ceil(len(ordered) * cohort.fraction * (1 + cohort.over_select) - 1e-9)
    size = min(len(ordered), max(wanted, cohort.quorum))
    if size == len(ordered):
        return ordered
    chosen = rng.choice(len(ordered), size, replace=False)
    return sorted(ordered[index] for index in chosen)
