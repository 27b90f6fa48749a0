"""Every step before a rule as a plain function: rows in, rows out."""

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.gram import measure
from hedgerow.aggregation.arrays.rows import Array, as_numpy, columns, like
from hedgerow.aggregation.given import Given
from hedgerow.aggregation.rule import Before
from hedgerow.aggregation.rules.averaging import proportions
from hedgerow.aggregation.steps.arc import ARC
from hedgerow.aggregation.steps.bucketing import Bucketing
from hedgerow.aggregation.steps.clipping import ClipNorms
from hedgerow.aggregation.steps.mixing import NNM
from hedgerow.errors import Misconfigured, Rejected

__all__ = ["arc", "bucketing", "clip_norms", "nnm"]


def nnm(X: Array, f: int | float, weights: npt.ArrayLike | None = None) -> Array:
    """Rows `(n, d)`, each replaced by the mean of the `n - f` nearest to it; see `NNM`.

    >>> nnm(np.array([[0.0], [1.0], [2.0]]), f=1).tolist()
    [[0.5], [0.5], [1.5]]

    Raises:
        Rejected: E303 if a row is not finite: there is no honest row to put in its place.
    """
    return _rows(X, NNM(f=f), weights=weights)


def clip_norms(X: Array, tau: float | None = None) -> Array:
    """Rows `(n, d)`, none longer than `tau`, or than the median length if None; see `ClipNorms`.

    >>> clip_norms(np.array([[3.0, 4.0], [0.0, 1.0]]), tau=2.5).tolist()
    [[1.5, 2.0], [0.0, 1.0]]

    Raises:
        Rejected: E303 if a row is not finite.
    """
    return _rows(X, ClipNorms(tau=tau))


def arc(X: Array, f: int | float, weights: npt.ArrayLike | None = None) -> Array:
    """Rows `(n, d)`, the `floor(2 f/n (n - f))` longest of them as long as the next; see `ARC`.

    >>> arc(np.array([[1.0], [2.0], [3.0], [4.0], [-90.0]]), f=1).tolist()
    [[1.0], [2.0], [3.0], [4.0], [-4.0]]

    Raises:
        Rejected: E303 if a row is not finite.
    """
    return _rows(X, ARC(f=f), weights=weights)


def bucketing(X: Array, size: int = 2, *, rng: np.random.Generator) -> Array:
    """Rows `(ceil(n / size), d)`: the means of random groups of `size`; see `Bucketing`.

    >>> bucketing(np.array([[0.0], [1.0], [2.0]]), size=3, rng=np.random.default_rng(0)).tolist()
    [[1.0]]

    Raises:
        Rejected: E303 if a row is not finite.
    """
    return _rows(X, Bucketing(size=size), rng=rng)


def _rows(
    X: Array, step: Before, *, weights: npt.ArrayLike | None = None, rng: np.random.Generator | None = None
) -> Array:
    rows = as_numpy(X)
    n, d = rows.shape
    f = step.byzantine(n) or 0
    if n < step.needs(f):
        raise Misconfigured("E103", f"{type(step).__name__} with f={f} needs at least {step.needs(f)} rows, not {n}")
    if not np.isfinite(rows).all():
        raise Rejected("E303", "a row is not finite", hint="aggregate() leaves such rows out and reports them")
    given = Given(f=f, weights=None if weights is None else proportions(weights, n), rng=rng)
    mixing = step.mix(measure(rows), given).geometry.mixing[:, :-1]
    result = np.empty((len(mixing), d), rows.dtype)
    for block in columns(n, d):
        result[:, block] = mixing @ rows[:, block].astype(np.float64)
    return like(result, X)
