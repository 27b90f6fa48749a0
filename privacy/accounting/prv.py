"""The price of many noisy steps by adding up their privacy losses numerically: tighter than Rényi's bound, slower.

Source: Gopi, Lee and Wutschitz, "Numerical composition of differential privacy", arXiv 2106.02848. The discretisation
and the Fourier composition are Opacus's; the grid's size and each loss's mean are computed here, because Opacus spends
most of its time on these two and a federation asks hundreds of times.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hedgerow.privacy.accounting.events import Event, Gaussian, SampledGaussian
from hedgerow.privacy.accounting.rdp import composed_curve, rdp_epsilon

__all__ = ["composed_epsilon", "prv_epsilon"]

Floats = NDArray[np.float64]

ERROR = 0.01  # of ε: what the discretisation may add to the bound
COARSE = 0.04
NODES = 16  # of a panel's quadrature
TINY = 1e-13  # the smallest panel


_LIMIT = 60.0  # above this the grid outgrows memory; Rényi's bound stands
_HIDDEN = 1000 * 2.0**-52  # of probability, for each step: what the transform's rounding can hide, with a margin


def prv_epsilon(totals: Sequence[tuple[Event, int]], delta: float, *, rough: bool = False) -> float:
    """ε at `delta` of Gaussian steps, each sampled or not and so many times: Rényi's bound, or less.

    `rough` as in `composed_epsilon`.
    """
    curves = [(composed_curve([(event, 1)], "add_remove"), times) for event, times in totals]
    whole = composed_curve(totals, "add_remove")
    bound, steps = rdp_epsilon(whole, delta), sum(times for _, times in totals)
    if bound > _LIMIT or delta < _HIDDEN * steps:
        return bound
    # What lies outside the grid must weigh less than a thousandth of delta: all steps together, and each alone.
    outside = delta / 1000
    reach = [rdp_epsilon(whole, outside / 4), *(rdp_epsilon(curve, outside / (8 * steps)) for curve, _ in curves)]
    if not math.isfinite(max(reach)):
        return bound
    pairs = tuple((*_noise_and_rate(event), times) for event, times in totals)
    return min(bound, composed_epsilon(pairs, delta, max(reach) + 3, rough=rough))


def _noise_and_rate(event: Event) -> tuple[float, float]:
    assert isinstance(event, SampledGaussian | Gaussian)
    return event.noise_multiplier, event.q if isinstance(event, SampledGaussian) else 1.0


@lru_cache(maxsize=4096)
def composed_epsilon(steps: tuple[tuple[float, float, int], ...], delta: float, size: float, *, rough: bool) -> float:
    """ε at `delta` of all (noise multiplier, sampling rate, times) together; infinite where it cannot be computed.

    `size` is half the width of the grid, in units of ε: the remark 5.6 of the paper says what is enough.
    Guarantee: an upper bound at most 0.02 above the truth. `rough` estimates the same number, within about 1e-3 and
    several times faster, and guarantees nothing.
    """
    from opacus.accountants.analysis import prv  # type: ignore[import-untyped]  # Opacus ships no types
    from scipy.fft import next_fast_len  # type: ignore[import-untyped]  # SciPy ships no types

    error = COARSE if rough else ERROR
    delta_error = delta / 1000
    total = sum(times for _, _, times in steps)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mesh = error / math.sqrt(total * math.log(12 / delta_error) / 2)
            half = next_fast_len(math.ceil(size / mesh) + 1)  # a length at which the Fourier transform is fast
            domain = prv.Domain((1 - half) * mesh, half * mesh, 2 * half)  # as `create_aligned` lays it out
            losses = [_Loss(noise, rate, domain.t_min, domain.t_max) for noise, rate, _ in steps]
            discrete = [prv.discretize(loss, domain) for loss in losses]
            whole = prv.compose_heterogeneous(dprvs=discrete, num_self_compositions=[times for *_, times in steps])
            value = float(whole.compute_epsilon(delta, delta_error, error)[2]) - error + ERROR
    except (ArithmeticError, RuntimeError, ValueError):  # the grid failed: this accountant proves nothing here
        return math.inf
    return math.inf if math.isnan(value) else max(value, 0.0)


class _Loss:
    """One step's privacy loss between `low` and `high`, as Opacus's `discretize` wants it."""

    def __init__(self, noise: float, rate: float, low: float, high: float) -> None:
        from opacus.accountants.analysis import prv

        self._prv = prv.PoissonSubsampledGaussianPRV(rate, noise)
        self._low, self._high = low, high
        self._edge = math.log1p(-rate) if rate < 1 else -math.inf
        self._start = float(self._prv.cdf(low))
        self._mass = float(self._prv.cdf(high)) - self._start

    def cdf(self, t: Floats) -> Floats:
        inside = (self._prv.cdf(t) - self._start) / self._mass
        return np.where(t < self._low, 0.0, np.where(t < self._high, inside, 1.0))

    def mean(self) -> float:
        """The upper end less the integral of the distribution function, by Gauss and Legendre's rule on panels.

        The panels double from the two places around which the loss crowds: zero, and log(1 - q) below which it never
        lies.
        """
        doubling = TINY * 2.0 ** np.arange(math.ceil(math.log2(2 * (self._high - self._low) / TINY)))
        ends = np.concatenate(([self._low, self._edge, 0.0], -doubling, doubling, self._edge + doubling))
        points = np.unique(np.clip(ends, self._low, self._high))
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        middle, half = (points[1:] + points[:-1]) / 2, np.diff(points) / 2
        values = self.cdf(middle[:, None] + half[:, None] * nodes)
        return float(self._high - (half * (values @ weights)).sum())
