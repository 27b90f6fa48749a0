"""Every rule as a plain function of the rows, for those who need the vector and nothing else."""

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.averaging import Mean
from hedgerow.aggregation.clipping import ClipNorms
from hedgerow.aggregation.coordinatewise import Median, TrimmedMean
from hedgerow.aggregation.geometric import GeometricMedian
from hedgerow.aggregation.given import Given
from hedgerow.aggregation.gram import measure
from hedgerow.aggregation.judge import combine
from hedgerow.aggregation.mixing import NNM
from hedgerow.aggregation.rows import Array, as_numpy, columns, like
from hedgerow.aggregation.rule import Before
from hedgerow.aggregation.selection import Krum, MultiKrum, Neighbours
from hedgerow.errors import Misconfigured, Rejected

__all__ = ["clip_norms", "geometric_median", "krum", "mean", "median", "multi_krum", "nnm", "trimmed_mean"]


def mean(X: Array, weights: npt.ArrayLike | None = None) -> Array:
    """The average `(d,)` of the rows, plain or with `weights` `(n,)`; see `Mean`.

    >>> mean(np.array([[0.0, 4.0], [2.0, 8.0]]), weights=[3, 1]).tolist()
    [0.5, 5.0]
    """
    return combine(X, Mean(), weights=weights)


def median(X: Array) -> Array:
    """The coordinate-wise median `(d,)`, the midpoint for even n; see `Median`.

    >>> median(np.array([[0.0], [1.0], [3.0], [9.0]])).tolist()
    [2.0]
    """
    return combine(X, Median())


def trimmed_mean(X: Array, f: int | float) -> Array:
    """The coordinate-wise mean `(d,)` without the `f` smallest and `f` largest values; see `TrimmedMean`.

    >>> trimmed_mean(np.array([[0.0], [1.0], [3.0], [9.0]]), f=1).tolist()
    [2.0]
    """
    return combine(X, TrimmedMean(f=f))


def krum(X: Array, f: int | float, neighbours: Neighbours = "n-f-2", *, strict: bool = True) -> Array:
    """The row `(d,)` whose nearest neighbours are closest; see `Krum`.

    >>> krum(np.array([[0.0], [1.0], [2.5], [3.0], [10.0]]), f=1).tolist()
    [2.5]
    """
    return combine(X, Krum(f=f, neighbours=neighbours, strict=strict))


def multi_krum(
    X: Array, f: int | float, m: int | None = None, neighbours: Neighbours = "n-f-2", *, strict: bool = True
) -> Array:
    """The mean `(d,)` of the `m` rows (`n - f` if None) with the smallest Krum scores; see `MultiKrum`.

    >>> multi_krum(np.array([[0.0], [1.0], [2.0], [3.0], [10.0]]), f=1).tolist()
    [1.5]
    """
    return combine(X, MultiKrum(f=f, m=m, neighbours=neighbours, strict=strict))


def geometric_median(X: Array) -> Array:
    """The point `(d,)` with the smallest sum of distances to the rows, converged; see `GeometricMedian`.

    >>> geometric_median(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [9.0, 9.0]])).round(6).tolist()
    [0.788675, 0.788675]
    """
    return combine(X, GeometricMedian())


def nnm(X: Array, f: int | float) -> Array:
    """Rows `(n, d)`, each replaced by the mean of the `n - f` nearest to it; see `NNM`.

    >>> nnm(np.array([[0.0], [1.0], [2.0]]), f=1).tolist()
    [[0.5], [0.5], [1.5]]

    Raises:
        Rejected: E303 if a row is not finite: there is no honest row to put in its place.
    """
    return _rows(X, NNM(f=f))


def clip_norms(X: Array, tau: float | None = None) -> Array:
    """Rows `(n, d)`, none longer than `tau`, or than the median length if None; see `ClipNorms`.

    >>> clip_norms(np.array([[3.0, 4.0], [0.0, 1.0]]), tau=2.5).tolist()
    [[1.5, 2.0], [0.0, 1.0]]

    Raises:
        Rejected: E303 if a row is not finite.
    """
    return _rows(X, ClipNorms(tau=tau))


def _rows(X: Array, step: Before) -> Array:
    rows = as_numpy(X)
    n, d = rows.shape
    f = step.byzantine(n) or 0
    if n < step.needs(f):
        raise Misconfigured("E103", f"{type(step).__name__} with f={f} needs at least {step.needs(f)} rows, not {n}")
    if not np.isfinite(rows).all():
        raise Rejected("E303", "a row is not finite", hint="aggregate() leaves such rows out and reports them")
    mixing = step.mix(measure(rows), Given(f=f)).geometry.mixing[:, :-1]
    result = np.empty_like(rows)
    for block in columns(n, d):
        result[:, block] = mixing @ rows[:, block].astype(np.float64)
    return like(result, X)
