"""Noise that remembers its last few rounds: banded Toeplitz factorisations."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hedgerow.errors import Misconfigured
from hedgerow.privacy.correlated.descent import descend
from hedgerow.privacy.correlated.gain import Objective, log_loss
from hedgerow.privacy.correlated.sensitivity import Participation
from hedgerow.privacy.correlated.series import square_root
from hedgerow.privacy.correlated.workload import Workload

__all__ = ["Banded", "best_banded"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Banded:
    """C with `bands` diagonals: round t's noise is fresh noise less a weighted sum of that of the `bands - 1` before.

    `bands` holds C's first column, the first entry 1. One band is independent noise.
    Memory: bands - 1 vectors of the model's size.

    >>> Banded(bands=(1.0, 0.5)).coefficients(4).tolist()
    [1.0, 0.5, 0.0, 0.0]
    """

    bands: tuple[float, ...]

    def __post_init__(self) -> None:
        if not (self.bands and self.bands[0] == 1.0 and np.isfinite(self.bands).all()):
            raise Misconfigured("E103", "expected finite bands, the first 1", place="bands")

    @property
    def memory(self) -> int:
        """How many vectors are kept between rounds."""
        return len(self.bands) - 1

    def coefficients(self, rounds: int) -> Floats:
        """C's first column, `(rounds,)`."""
        column = np.zeros(rounds)
        column[: len(self.bands)] = self.bands[:rounds]
        return column

    def recall(self, past: int) -> Floats:
        """What each kept vector counts when `past` rounds are over, `(memory,)`: round i lies in place i mod memory."""
        ages = (past - 1 - np.arange(self.memory)) % max(self.memory, 1) + 1
        return np.asarray(self.bands)[ages]

    def remember(self, kept: NDArray[np.floating], noise: NDArray[np.floating], past: int) -> None:
        """Put a round's noise, `(d,)`, into what is kept, `(memory, d)`, in place: the oldest makes room."""
        if self.memory:
            kept[past % self.memory] = noise


@lru_cache(maxsize=64)
def best_banded(bands: int, participation: Participation, workload: Workload, objective: Objective = "mean") -> Banded:
    """The banded factorisation with the least error at a fixed guarantee.

    `bands` is at most the number of rounds and, where somebody takes part more than once, at most the separation:
    then the sensitivity is exact. `objective`: the mean variance of all models, or that of the last. Starts at the
    square root of the workload and goes downhill; no chance in it, so the same machine finds the same numbers, kept
    for the next call. Another machine's may differ in the last digits: hand the plan over, do not compute it twice.
    Raises: Misconfigured E105 for more bands than the separation, E103 for numbers out of range.
    Source: Choquette-Choo et al., "(Amplified) banded matrix factorization", arXiv 2306.08153, sec. 4; McKenna,
    arXiv 2405.15913, sec. 3, for the Toeplitz form. Cost: a second for 2,000 rounds.

    For two rounds and one participation the second band c solves 2c³ - 3c² + 4c = 1:

    >>> once = Participation(rounds=2, min_separation=1, max_participations=1)
    >>> round(best_banded(2, once, Workload(rounds=2)).bands[1], 4)
    0.3059
    """
    if not 1 <= bands <= workload.rounds:
        raise Misconfigured("E103", f"bands={bands!r}, expected 1 … {workload.rounds}", place="bands")
    if participation.most > 1 and bands > participation.min_separation:
        raise Misconfigured(
            "E105",
            f"{bands} bands overlap at separation {participation.min_separation}",
            place="bands",
            hint="take as many bands as the separation at most, or kind 'blt'",
        )

    def loss(free: Floats) -> tuple[float, Floats]:
        value, gradient = log_loss(np.concatenate(([1.0], free)), participation, workload, objective)
        return value, gradient[1:bands]

    start = square_root(workload.momentum_sums()[:bands])
    return Banded(bands=(1.0, *(float(band) for band in descend(loss, start[1:]))))
