"""A privacy loss on an even grid, so that steps can be added up: never less than the loss it stands for.

Source: Doroshenko, Ghazi, Kamath, Kumar and Manurangsi, "Connect the dots: tighter discrete approximations of privacy
loss distributions", PoPETs 2022. What lies between two grid points is moved to the two, so that its probability stays
the same under P and under Q: δ(ε) is then right at the points and follows the chord between them, above the curve.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hedgerow.privacy.accounting.kept import Kept
from hedgerow.privacy.accounting.losses import Loss

__all__ = ["Dots", "connect_dots", "moment", "spectrum"]

Floats = NDArray[np.float64]

_LOST = 2.0**-50  # of a probability: what rounding may hide, with a margin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dots:
    """The loss is `values[i]` = (first + i)·mesh with probability exp(`logs[i]`), else infinite."""

    first: int
    values: Floats
    logs: Floats
    infinite: float


def connect_dots(loss: Loss, fineness: int, tail: int) -> Dots:
    """One step's loss on the grid of mesh 2^-fineness, kept finite but for a probability of 2^-tail.

    Guarantee: its δ(ε) is at least the loss's own at every ε, also after any number of compositions.
    """
    return _DOTS.get((loss, fineness, tail), lambda: _connected(loss, 2.0**-fineness, 2.0**-tail))


@lru_cache(maxsize=1 << 17)
def moment(loss: Loss, fineness: int, tail: int, tilt: float) -> float:
    """log E[exp(tilt · L) where L is finite] of the loss on the grid. The moments of composed steps add up."""
    dots = connect_dots(loss, fineness, tail)
    exponents = dots.logs + tilt * dots.values
    most = float(exponents.max())
    return most + math.log(float(np.exp(exponents - most).sum()))


def spectrum(loss: Loss, fineness: int, tail: int, tilt: float, size: int) -> tuple[Floats, Floats]:
    """The Fourier transform of the loss, tilted by exp(tilt · L), normed and wrapped onto `size` points.

    As two arrays `(size / 2 + 1,)`, the logarithm of its magnitude and its angle: those of composed steps add up.
    """

    def transformed() -> tuple[Floats, Floats]:
        dots = connect_dots(loss, fineness, tail)
        mass = np.exp(dots.logs + tilt * dots.values - moment(loss, fineness, tail, tilt))
        start = dots.first % size
        rows = np.zeros(-(-(start + len(mass)) // size) * size)
        rows[start : start + len(mass)] = mass
        values = np.fft.rfft(rows.reshape(-1, size).sum(axis=0))
        with np.errstate(divide="ignore"):
            return np.log(np.abs(values)), np.angle(values)

    return _SPECTRA.get((loss, fineness, tail, tilt, size), transformed)


_DOTS = Kept[Dots](bytes=1 << 27, size=lambda dots: dots.logs.nbytes + dots.values.nbytes)
_SPECTRA = Kept[tuple[Floats, Floats]](bytes=1 << 27, size=lambda pair: pair[0].nbytes + pair[1].nbytes)


def _connected(loss: Loss, mesh: float, tail: float) -> Dots:
    low, high = loss.range(tail)
    first, last = math.floor(low / mesh), math.ceil(high / mesh) + 1
    points: Floats = np.arange(first, last + 1, dtype=np.float64) * mesh
    above_p, above_q = loss.exceeds(points)
    above_p = np.minimum(above_p * (1 + _LOST), 1.0)  # rounding may only make a loss larger
    with np.errstate(all="ignore"):  # exp overflows where Q has no mass left
        scaled_q = np.where(above_q > 0, above_q * np.exp(points), 0.0)
        under_q = np.where(above_q[:-1] > 0, (above_q[:-1] - above_q[1:]) * np.exp(points[:-1]), 0.0)
    under_p = np.maximum(above_p[:-1] - above_p[1:], 0.0)
    # Of a cell's probability p under P and q under Q the lower point gets a and the upper one b, where a + b = p and
    # a·exp(-lower) + b·exp(-upper) = q. As much of a as could be rounding goes to the upper point instead.
    hidden = _LOST * (above_p[:-1] + scaled_q[:-1])
    lower = (under_q - under_p * math.exp(-mesh) - hidden) / -math.expm1(-mesh)
    lower = np.clip(np.where(np.isfinite(lower), lower, 0.0), 0.0, under_p)
    mass = np.zeros(len(points))
    mass[:-1] += lower
    mass[1:] += under_p - lower
    mass[0] += 1 - above_p[0]
    with np.errstate(divide="ignore"):
        return Dots(first=first, values=points, logs=np.log(mass), infinite=float(above_p[-1]))
