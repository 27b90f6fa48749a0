"""Noise that remembers all its rounds in a few fading sums: buffered linear Toeplitz factorisations (BLT)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hedgerow.errors import Misconfigured
from hedgerow.privacy.correlated.descent import descend
from hedgerow.privacy.correlated.gain import Objective, log_loss
from hedgerow.privacy.correlated.sensitivity import Participation
from hedgerow.privacy.correlated.series import correlation
from hedgerow.privacy.correlated.workload import Workload

__all__ = ["MOST_BUFFERS", "Blt", "best_blt"]

Floats = NDArray[np.float64]

MOST_BUFFERS = 8  # four or five come within 0.1 % of any number of them

_APART = 1e-6  # what it costs, in the logarithm of the variance, to come near the edge where two buffers become one


@dataclass(frozen=True, slots=True, kw_only=True)
class Blt:
    """C's first column is 1, Σ w_i, Σ w_i θ_i, Σ w_i θ_i², …: each buffer is a sum of past noise that fades by θ_i.

    Weights are positive with sum at most 1, decays lie in (0, 1): the column falls, so its sensitivity is known for
    every separation. Memory: one vector of the model's size a buffer.
    Raises: Misconfigured E103 for other numbers.

    >>> Blt(weights=(0.5,), decays=(0.5,)).coefficients(4).tolist()
    [1.0, 0.5, 0.25, 0.125]
    """

    weights: tuple[float, ...]
    decays: tuple[float, ...]

    def __post_init__(self) -> None:
        decaying = all(0.0 < decay < 1.0 for decay in self.decays)
        weighted = all(weight > 0.0 for weight in self.weights) and sum(self.weights) <= 1.0
        if not (self.weights and len(self.weights) == len(self.decays) and decaying and weighted):
            raise Misconfigured(
                "E103", "expected positive weights of sum <= 1 and as many decays in (0, 1)", place="weights"
            )

    @property
    def memory(self) -> int:
        """How many vectors are kept between rounds."""
        return len(self.weights)

    def coefficients(self, rounds: int) -> Floats:
        """C's first column, `(rounds,)`."""
        ages = np.arange(rounds - 1, dtype=np.float64)
        fading = np.asarray(self.weights) @ np.asarray(self.decays)[:, None] ** ages
        return np.concatenate(([1.0], fading))

    def recall(self, past: int) -> Floats:
        """What each kept vector counts in the next round, `(memory,)`."""
        return np.asarray(self.weights)

    def remember(self, kept: NDArray[np.floating], noise: NDArray[np.floating], past: int) -> None:
        """Let what is kept, `(memory, d)`, fade by a round and add that round's noise, `(d,)`, in place."""
        kept *= np.asarray(self.decays, kept.dtype)[:, None]
        kept += noise


@lru_cache(maxsize=64)
def best_blt(buffers: int, participation: Participation, workload: Workload, objective: Objective = "mean") -> Blt:
    """The factorisation with `buffers` fading sums and the least error at a fixed guarantee.

    C's series is Π (1 - ζ_i x) / (1 - θ_i x) with 1 > θ_1 > ζ_1 > θ_2 > … > ζ_p > 0, so that all weights are positive
    and the series falls, whatever the numbers; the search runs over the logits of the ratios of neighbouring 1 - θ and
    1 - ζ, which are free. No chance in it: the same machine finds the same numbers, kept for the next call.
    Raises: Misconfigured E103 for fewer than 1 or more than `MOST_BUFFERS` buffers.
    Source: Dvijotham, McMahan, Pillutla, Steinke and Thakurta, "Efficient and near-optimal noise generation for
    streaming differential privacy", arXiv 2404.16706, sec. 4; McMahan, Xu and Zhang, "A hassle-free algorithm for
    private learning in practice", arXiv 2408.08868, sec. 3, for several participations and the pairs (θ, ζ).
    Cost: a second for 2,000 rounds.

    >>> once = Participation(rounds=2, min_separation=1, max_participations=1)
    >>> round(best_blt(1, once, Workload(rounds=2)).weights[0], 4)
    0.3059
    """
    if not 1 <= buffers <= MOST_BUFFERS:
        raise Misconfigured("E103", f"buffers={buffers!r}, expected 1 … {MOST_BUFFERS}", place="buffers")
    n = workload.rounds
    ages = np.arange(n - 1, dtype=np.float64)

    def loss(logits: Floats) -> tuple[float, Floats]:
        distances, ratios = _distances(logits)
        roots = 1.0 - distances
        column = np.concatenate(([1.0], _weights(distances) @ roots[0::2, None] ** ages))
        value, gradient = log_loss(column, participation, workload, objective)
        # ∂C/∂θ = C x / (1 - θ x), and the same with the other sign for ζ.
        by_root = (roots[:, None] ** ages) @ correlation(column, gradient)[1:]
        by_root[1::2] *= -1.0
        by_logit = np.cumsum(-by_root * distances) * (1.0 - ratios)
        edge = float(np.log(ratios * (1.0 - ratios)).sum())
        return value - _APART * edge, by_logit - _APART * (1.0 - 2.0 * ratios)

    # Distances from 1 spread evenly on a logarithmic scale: the ages that matter run from one round to all of them.
    spread = np.geomspace(min(3.0 / n, 0.1), 0.8, 2 * buffers)
    ratios = spread / np.append(spread[1:], 1.0)
    distances, _ = _distances(descend(loss, np.log(ratios / (1.0 - ratios))))
    return Blt(weights=tuple(_weights(distances).tolist()), decays=tuple((1.0 - distances[0::2]).tolist()))


def _distances(logits: Floats) -> tuple[Floats, Floats]:
    """The rising distances from 1 of θ_1, ζ_1, θ_2, …, and the ratio of each to the next (the last one's to 1)."""
    ratios = 1.0 / (1.0 + np.exp(-logits))
    distances = np.asarray(np.cumprod(ratios[::-1])[::-1], np.float64)
    return distances, ratios


def _weights(distances: Floats) -> Floats:
    """The weights of the partial fractions: Π_j (θ_i - ζ_j) / Π_(j≠i) (θ_i - θ_j), from the distances from 1."""
    poles, zeros = distances[0::2], distances[1::2]
    apart = np.subtract.outer(poles, poles)
    np.fill_diagonal(apart, 1.0)
    # Signs cancel in pairs but for one: θ - ζ and θ_i - θ_j are both written the other way round.
    weights: Floats = -(np.subtract.outer(poles, zeros) / apart).prod(axis=1)
    return weights
