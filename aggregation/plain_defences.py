"""Every defence as a plain function of the rows, in its first round: what it remembers, only `aggregate` returns."""

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.rows import Array, as_table
from hedgerow.aggregation.defences.divide_and_conquer import DnC
from hedgerow.aggregation.defences.flame import Flame
from hedgerow.aggregation.defences.fltrust import FLTrust
from hedgerow.aggregation.defences.foolsgold import HISTORY, FoolsGold
from hedgerow.aggregation.defences.norm_bound import NormBound
from hedgerow.aggregation.defences.robust_learning_rate import RobustLearningRate
from hedgerow.aggregation.defences.sign_guard import SignGuard
from hedgerow.aggregation.defences.site_memory import as_state
from hedgerow.aggregation.judge import aggregate
from hedgerow.errors import Misconfigured

__all__ = ["dnc", "flame", "fltrust", "foolsgold", "norm_bound", "robust_learning_rate", "sign_guard"]


def fltrust(X: Array, reference: npt.NDArray[np.floating], weights: npt.ArrayLike | None = None) -> Array:
    """The mean `(d,)` of the rows, trusted as far as they point the way of the server's `reference`; see `FLTrust`.

    >>> fltrust(np.array([[2.0, 0.0], [0.0, 5.0], [-9.0, 0.0]]), np.array([1.0, 0.0])).tolist()
    [1.0, 0.0]
    """
    return aggregate(X, FLTrust(), reference=reference, weights=weights).vector


def foolsgold(X: Array, history: npt.NDArray[np.floating] | None = None) -> Array:
    """The mean `(d,)` of the rows without those that are alike, judged on the sums of `history` `(n, d)`, if there is
    one, and `X`; see `FoolsGold`.

    >>> foolsgold(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])).tolist()
    [1.0, 0.0]

    Raises:
        Misconfigured: E126 for a history of another shape than `X`.
    """
    n, d = as_table(X).shape
    sites = [f"{row:09d}" for row in range(n)]
    if history is not None and np.shape(history) != (n, d):
        raise Misconfigured("E126", f"the history must have the rows' shape ({n}, {d}), not {np.shape(history)}")
    state = {} if history is None else {**as_state(sites), HISTORY: history}
    return aggregate(X, FoolsGold(), sites=sites, state=state).vector


def flame(
    X: Array, epsilon: float | None = None, delta: float = 0.001, rng: np.random.Generator | None = None
) -> Array:
    """The mean `(d,)` of the majority that points alike, shortened, with noise if there is an `epsilon`; see `Flame`.

    >>> flame(np.array([[1.0, 1.0], [1.0, 0.5], [3.0, 3.0], [-9.0, 1.0]])).round(3).tolist()
    [1.333, 1.167]
    """
    return aggregate(X, Flame(epsilon=epsilon, delta=delta), rng=rng).vector


def dnc(
    X: Array,
    f: int | float,
    filtering: float = 1.0,
    coordinates: int = 10_000,
    iterations: int = 5,
    rng: np.random.Generator | None = None,
) -> Array:
    """The mean `(d,)` of the rows that do not stand out along the direction of most difference; see `DnC`.

    >>> dnc(np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.5], [20.0, 20.0]]), f=1).round(6).tolist()
    [1.333333, 0.5]
    """
    rule = DnC(f=f, filtering=filtering, coordinates=coordinates, iterations=iterations)
    return aggregate(X, rule, rng=rng).vector


def sign_guard(
    X: Array, fraction: float = 1.0, low: float = 0.1, high: float = 3.0, rng: np.random.Generator | None = None
) -> Array:
    """The mean `(d,)` of the rows of ordinary length and signs, shortened; see `SignGuard`. A `fraction` of the
    coordinates below 1 is drawn from `rng`.

    >>> sign_guard(np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 0.5], [-1.0, -1.0], [-1.0, 1.0]])).round(3).tolist()
    [1.124, 0.781]
    """
    return aggregate(X, SignGuard(fraction=fraction, low=low, high=high), rng=rng).vector


def robust_learning_rate(X: Array, threshold: int | float) -> Array:
    """The mean `(d,)`, with its sign changed where the rows' signs sum to less than `threshold`; see
    `RobustLearningRate`.

    >>> robust_learning_rate(np.array([[1.0, 1.0], [2.0, -1.0], [3.0, 9.0]]), threshold=2).tolist()
    [2.0, -3.0]
    """
    return aggregate(X, RobustLearningRate(threshold=threshold)).vector


def norm_bound(X: Array, tau: float, noise_multiplier: float = 0.0, rng: np.random.Generator | None = None) -> Array:
    """The mean `(d,)` of the rows, none longer than `tau`, with Gaussian noise of `noise_multiplier * tau / n`; see
    `NormBound`.

    >>> norm_bound(np.array([[3.0, 4.0], [0.0, 0.0]]), tau=2.5).tolist()
    [0.75, 1.0]
    """
    return aggregate(X, NormBound(tau=tau, noise_multiplier=noise_multiplier), rng=rng).vector
