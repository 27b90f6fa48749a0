"""What the noise is measured on: the models that a training run passes through, as sums of its noisy rounds.

With plain steps the model after round t is the prefix sum of the rounds' contributions. With momentum or changing
learning rates it is another lower-triangular sum; noise that suits it is a little different.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgerow.errors import Misconfigured
from hedgerow.privacy.correlated.series import product

__all__ = ["Workload"]

Floats = NDArray[np.float64]

_MOST_ROUNDS = 1 << 17  # beyond this, choosing the noise takes many minutes
_MOST_RATES = 4096  # with rates the matrix has no structure left: its cost grows with the square
_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The sums over `rounds` rounds that the server's optimiser forms.

    Model after round t = Σ_(u ≤ t) rate_u Σ_(s ≤ u) momentum^(u-s) x_s. `rates` has one entry a round; empty means the
    same rate in every round, and then errors are in units of it. The entries of the matrix are never negative.
    Raises: Misconfigured E103 for numbers out of range.

    >>> Workload(rounds=3, momentum=0.5).matrix().tolist()
    [[1.0, 0.0, 0.0], [1.5, 1.0, 0.0], [1.75, 1.5, 1.0]]
    """

    rounds: int
    momentum: float = 0.0
    rates: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        most = _MOST_RATES if self.rates else _MOST_ROUNDS
        if not 1 <= self.rounds <= most:
            raise Misconfigured("E103", f"rounds={self.rounds!r}, expected 1 … {most}", place="rounds")
        if not 0.0 <= self.momentum < 1.0:
            raise Misconfigured("E103", f"momentum={self.momentum!r}, expected in [0, 1)", place="momentum")
        if self.rates and len(self.rates) != self.rounds:
            raise Misconfigured("E103", f"{len(self.rates)} rates for {self.rounds} rounds", place="rates")
        if self.rates and not (all(0.0 <= rate < math.inf for rate in self.rates) and self.rates[0] > 0.0):
            raise Misconfigured("E103", "expected finite rates >= 0, the first above 0", place="rates")

    def matrix(self) -> Floats:
        """The workload as a dense matrix, `(rounds, rounds)`."""
        series, n = self._series(), self.rounds
        ages = np.subtract.outer(np.arange(n), np.arange(n))
        toeplitz = np.where(ages >= 0, series[ages], 0.0)
        return np.cumsum(np.asarray(self.rates)[:, None] * toeplitz, axis=0) if self.rates else toeplitz

    def decoder(self, noise: Floats) -> Floats:
        """What `squared_errors` and `squared_error_gradient` take: from C⁻¹'s first column, `(rounds,)`."""
        return product(self._series(), noise, self.rounds)

    def squared_errors(self, decoder: Floats) -> Floats:
        """The squared norm of every row of B = A C⁻¹, `(rounds,)`: the variance of each model under unit noise."""
        if not self.rates:
            errors: Floats = np.cumsum(decoder**2)
            return errors
        errors = np.zeros(self.rounds)
        for _, block in self._blocks(decoder):
            errors += (block**2).sum(axis=0)
        return errors

    def squared_error_gradient(self, decoder: Floats, weights: Floats) -> Floats:
        """The gradient of Σ_t weights_t · squared_errors_t by `decoder`, `(rounds,)`."""
        if not self.rates:
            return 2.0 * np.cumsum(weights[::-1])[::-1] * decoder
        gradient = np.zeros(self.rounds)
        ages = np.arange(self.rounds)
        for start, block in self._blocks(decoder):
            steps = np.cumsum((2.0 * weights * block)[:, ::-1], axis=1)[:, ::-1] * np.asarray(self.rates)
            age = ages - np.arange(start, start + len(block))[:, None]
            gradient += np.bincount(age[age >= 0], weights=steps[age >= 0], minlength=self.rounds)
        return gradient

    def momentum_sums(self) -> Floats:
        """The workload's first column with all rates 1, `(rounds,)`."""
        sums: Floats = np.cumsum(self._powers())
        return sums

    def _powers(self) -> Floats:
        powers: Floats = self.momentum ** np.arange(self.rounds, dtype=np.float64)
        return powers

    def _series(self) -> Floats:
        return self._powers() if self.rates else self.momentum_sums()

    def _blocks(self, decoder: Floats) -> Iterator[tuple[int, Floats]]:
        """Bᵀ in blocks of rows: [s, t] is the weight of round s's fresh noise in the model after round t."""
        rates = np.asarray(self.rates)
        padded = np.concatenate((np.zeros(self.rounds), decoder))
        for start in range(0, self.rounds, _ROWS):
            rows = np.arange(start, min(start + _ROWS, self.rounds))
            shifted = padded[self.rounds + np.arange(self.rounds) - rows[:, None]]
            yield start, np.cumsum(shifted * rates, axis=1)
