"""Lower-triangular Toeplitz matrices as what they are: power series cut off after n terms.

The first column says it all. The product of two such matrices is the product of the series, the inverse is the
reciprocal series, a transpose turns a product into a correlation.
Cost: O(n log n) a product, reciprocal or correlation.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["correlation", "product", "reciprocal", "square_root"]

Floats = NDArray[np.float64]

_DIRECT = 256  # below this length the plain sum is faster than a transform, and exact


def product(a: Floats, b: Floats, n: int) -> Floats:
    """The first `n` terms of the product of two series, `(n,)`.

    >>> product(np.array([1.0, 2.0]), np.array([1.0, 1.0, 1.0]), 4).tolist()
    [1.0, 3.0, 3.0, 2.0]
    """
    a, b = a[:n], b[:n]
    if min(len(a), len(b)) <= _DIRECT:
        whole = np.convolve(a, b)[:n]
    else:
        size = 1 << (len(a) + len(b) - 2).bit_length()
        whole = np.fft.irfft(np.fft.rfft(a, size) * np.fft.rfft(b, size), size)[: min(n, len(a) + len(b) - 1)]
    return np.concatenate((whole, np.zeros(n - len(whole))))


def reciprocal(a: Floats, n: int) -> Floats:
    """The first `n` terms of 1/a, `(n,)`, by Newton's iteration: each step doubles how many are right.

    `a[0]` is not zero.

    >>> reciprocal(np.array([1.0, -0.5]), 4).tolist()
    [1.0, 0.5, 0.25, 0.125]
    """
    inverse = np.array([1.0 / a[0]])
    while len(inverse) < n:
        longer = min(2 * len(inverse), n)
        residual = product(a, inverse, longer)
        residual[0] -= 1.0
        correction = product(inverse, residual, longer)
        correction[: len(inverse)] = 0.0  # these terms are right already: what stands here is rounding
        inverse = np.concatenate((inverse, np.zeros(longer - len(inverse)))) - correction
    return inverse


def correlation(a: Floats, g: Floats) -> Floats:
    """Σ_j a_j g_(j+k) for k = 0 … n-1, `(n,)`: the transpose of the product with `a`.

    >>> correlation(np.array([1.0, 2.0]), np.array([1.0, 10.0, 100.0])).tolist()
    [21.0, 210.0, 100.0]
    """
    return product(a, g[::-1], len(g))[::-1]


def square_root(a: Floats) -> Floats:
    """The series whose square is `a`, `(n,)`; `a[0]` is positive. Cost: O(n²).

    For prefix sums, a = (1, 1, 1, …), term k is binom(2k, k) / 4^k: the factorisation of Fichtenberger, Henzinger and
    Upadhyay, "Constant matters: fine-grained error bound on differentially private continual observation using
    completely bounded norms", ICML 2023, arXiv 2202.11205, sec. 3.

    >>> square_root(np.ones(4)).tolist()
    [1.0, 0.5, 0.375, 0.3125]
    """
    root = np.zeros(len(a))
    root[0] = np.sqrt(a[0])
    for k in range(1, len(a)):
        root[k] = (a[k] - root[1:k] @ root[k - 1 : 0 : -1]) / (2 * root[0])
    return root
