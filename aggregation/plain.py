"""Every rule as a plain function of the rows, for those who need the vector and nothing else.

`weights` `(n,)`, where a rule takes them, must be the server's own, never what a reply claims about itself.
"""

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.rows import Array
from hedgerow.aggregation.judge import aggregate, combine
from hedgerow.aggregation.rules.around import MeaMed, Phocas
from hedgerow.aggregation.rules.averaging import Mean
from hedgerow.aggregation.rules.bulyan import Bulyan, Select
from hedgerow.aggregation.rules.centered_clipping import CenteredClipping
from hedgerow.aggregation.rules.coordinatewise import Median, TrimmedMean
from hedgerow.aggregation.rules.geometric import GeometricMedian
from hedgerow.aggregation.rules.minimum_diameter import MDA
from hedgerow.aggregation.rules.monna import MoNNA
from hedgerow.aggregation.rules.selection import Krum, MultiKrum, Neighbours
from hedgerow.aggregation.rules.spectral import Spectral

__all__ = [
    "bulyan",
    "centered_clipping",
    "geometric_median",
    "krum",
    "mda",
    "mean",
    "meamed",
    "median",
    "monna",
    "multi_krum",
    "phocas",
    "spectral",
    "trimmed_mean",
]


def mean(X: Array, weights: npt.ArrayLike | None = None) -> Array:
    """The average `(d,)` of the rows, plain or with `weights` `(n,)`; see `Mean`.

    >>> mean(np.array([[0.0, 4.0], [2.0, 8.0]]), weights=[3, 1]).tolist()
    [0.5, 5.0]
    """
    return combine(X, Mean(), weights=weights)


def median(X: Array, weights: npt.ArrayLike | None = None) -> Array:
    """The coordinate-wise median `(d,)`, the midpoint for even n; see `Median`.

    >>> median(np.array([[0.0], [1.0], [3.0], [9.0]])).tolist()
    [2.0]
    """
    return combine(X, Median(), weights=weights)


def trimmed_mean(X: Array, f: int | float, weights: npt.ArrayLike | None = None) -> Array:
    """The coordinate-wise mean `(d,)` without the `f` smallest and `f` largest values; see `TrimmedMean`.

    >>> trimmed_mean(np.array([[0.0], [1.0], [3.0], [9.0]]), f=1).tolist()
    [2.0]
    """
    return combine(X, TrimmedMean(f=f), weights=weights)


def meamed(X: Array, f: int | float) -> Array:
    """The coordinate-wise mean `(d,)` of the `n - f` values nearest to the median; see `MeaMed`.

    >>> meamed(np.array([[0.0], [1.0], [3.0], [4.0], [90.0]]), f=1).tolist()
    [2.0]
    """
    return combine(X, MeaMed(f=f))


def phocas(X: Array, f: int | float) -> Array:
    """The coordinate-wise mean `(d,)` of the `n - f` values nearest to the trimmed mean; see `Phocas`.

    >>> phocas(np.array([[0.0], [1.0], [3.0], [4.0], [90.0]]), f=1).tolist()
    [2.0]
    """
    return combine(X, Phocas(f=f))


def krum(
    X: Array,
    f: int | float,
    neighbours: Neighbours = "n-f-2",
    *,
    strict: bool = True,
    weights: npt.ArrayLike | None = None,
) -> Array:
    """The row `(d,)` whose nearest neighbours are closest; see `Krum`.

    >>> krum(np.array([[0.0], [1.0], [2.5], [3.0], [10.0]]), f=1).tolist()
    [2.5]
    """
    return combine(X, Krum(f=f, neighbours=neighbours, strict=strict), weights=weights)


def multi_krum(
    X: Array,
    f: int | float,
    m: int | None = None,
    neighbours: Neighbours = "n-f-2",
    *,
    strict: bool = True,
    weights: npt.ArrayLike | None = None,
) -> Array:
    """The mean `(d,)` of the `m` rows (`n - f` if None) with the smallest Krum scores; see `MultiKrum`.

    >>> multi_krum(np.array([[0.0], [1.0], [2.0], [3.0], [10.0]]), f=1).tolist()
    [1.5]
    """
    return combine(X, MultiKrum(f=f, m=m, neighbours=neighbours, strict=strict), weights=weights)


def bulyan(
    X: Array,
    f: int | float,
    select: Select = "iterated",
    neighbours: Neighbours = "n-f-2",
    *,
    strict: bool = True,
) -> Array:
    """The mean `(d,)` around the median, by coordinate, of the `n - 2f` rows that Krum selects; see `Bulyan`.

    >>> bulyan(np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [40.0]]), f=1).tolist()
    [3.0]
    """
    return combine(X, Bulyan(f=f, select=select, neighbours=neighbours, strict=strict))


def mda(X: Array, f: int | float, weights: npt.ArrayLike | None = None) -> Array:
    """The mean `(d,)` of the `n - f` rows whose diameter is smallest, exactly; see `MDA`.

    >>> mda(np.array([[0.0], [1.0], [3.0], [4.0], [4.75]]), f=2).round(6).tolist()
    [3.916667]
    """
    return combine(X, MDA(f=f), weights=weights)


def monna(X: Array, f: int | float, pivot: int = 0) -> Array:
    """The mean `(d,)` of the `n - f` rows nearest to the row `pivot`, which is trusted; see `MoNNA`.

    >>> monna(np.array([[0.0], [1.0], [3.0], [90.0]]), f=1, pivot=2).round(6).tolist()
    [1.333333]
    """
    return combine(X, MoNNA(f=f, pivot=pivot))


def centered_clipping(
    X: Array, center: npt.ArrayLike | None = None, tau: float | None = None, iterations: int = 3
) -> Array:
    """From `center` `(d,)` (zeros if None) steps to the mean of differences clipped to `tau`; see `CenteredClipping`.

    >>> centered_clipping(np.array([[1.0], [2.0], [90.0]]), tau=3.0, iterations=1).round(6).tolist()
    [2.0]
    """
    state = {} if center is None else {"center": np.asarray(center)}
    return aggregate(X, CenteredClipping(tau=tau, iterations=iterations), state=state).vector


def spectral(X: Array, f: int | float) -> Array:
    """The mean `(d,)` of the rows without those that lie far where rows disagree most; see `Spectral`.

    >>> spectral(np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0], [2.0, 1.0], [90.0, 90.0]]), f=1).round(1).tolist()
    [1.5, 0.5]
    """
    return combine(X, Spectral(f=f))


def geometric_median(X: Array, weights: npt.ArrayLike | None = None) -> Array:
    """The point `(d,)` with the smallest sum of distances to the rows, converged; see `GeometricMedian`.

    >>> geometric_median(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [9.0, 9.0]])).round(6).tolist()
    [0.788675, 0.788675]
    """
    return combine(X, GeometricMedian(), weights=weights)
