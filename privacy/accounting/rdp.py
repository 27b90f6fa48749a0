"""The Rényi divergence of every event at many orders, and its conversion to ε and δ.

Sources: `renyi.py` for sampled sums, `hedgerow.privacy.discrete` for whole-number noise; Laplace: Mironov, "Rényi
differential privacy", CSF 2017, table II. Conversion: Balle et al., "Hypothesis testing interpretations and Rényi
differential privacy", arXiv 1905.09982, theorem 21.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from hedgerow.privacy.accounting.allowed import Relation
from hedgerow.privacy.accounting.events import Event, Gaussian, Laplace, SampledGaussian, Skellam
from hedgerow.privacy.accounting.renyi import sampled_gaussian_rdp

__all__ = ["ORDERS", "composed_curve", "converted", "rdp_curve", "rdp_delta", "rdp_epsilon"]

Floats = NDArray[np.float64]

_HIGH_ORDERS = (64, 80, 96, 128, 192, 256, 384, 512, 1024)
ORDERS: tuple[float, ...] = (*(1 + x / 10 for x in range(1, 100)), *range(12, 64), *_HIGH_ORDERS)
_ALPHAS = np.array(ORDERS, np.float64)


def composed_curve(events: Iterable[tuple[Event, int]], relation: Relation) -> Floats:
    """The Rényi divergence of all events together at every order; each event counts for one step, so many times."""
    return sum((_curve(event, relation) * times for event, times in events), np.zeros(len(ORDERS)))


@lru_cache(maxsize=4096)
def rdp_curve(noise_multiplier: float, q: float) -> Floats:
    """One sampled step's Rényi divergence at every order, `(orders,)`, read-only, for adding or removing a record."""
    return _frozen(sampled_gaussian_rdp(noise_multiplier, q, ORDERS))


def rdp_epsilon(rdp: Floats, delta: float) -> float:
    """Convert a composed Rényi curve, as `rdp_curve` lays it out, to ε at `delta`."""
    return converted(ORDERS, rdp, delta)


def rdp_delta(rdp: Floats, epsilon: float) -> float:
    """Convert a composed Rényi curve to δ at `epsilon`."""
    finite = np.isfinite(rdp)
    if not finite.any():
        return 1.0
    alphas, curve = _ALPHAS[finite], rdp[finite]
    logs = (alphas - 1) * (curve - epsilon + np.log1p(-1 / alphas)) - np.log(alphas)
    return min(max(math.exp(min(float(logs.min()), 0.0)), 5e-324), 1.0)


def converted(orders: Sequence[float], rdp: Floats, delta: float) -> float:
    """ε at `delta`, by the best of these orders; infinite if the divergence is at all of them."""
    alphas = _ALPHAS if orders is ORDERS else np.asarray(orders, np.float64)
    bounds = rdp + np.log1p(-1 / alphas) - (math.log(delta) + np.log(alphas)) / (alphas - 1)
    return max(float(bounds.min()), 0.0)


@lru_cache(maxsize=4096)
def _curve(event: Event, relation: Relation) -> Floats:
    changed = 2.0 if relation == "replace_one" else 1.0  # by how much more than its own size a record moves the sum
    if isinstance(event, SampledGaussian | Gaussian):
        # How much sampling helps against replacement is not known here, only that it never harms.
        q = event.q if isinstance(event, SampledGaussian) and changed == 1.0 else 1.0
        return rdp_curve(event.noise_multiplier / changed, q)
    if isinstance(event, Laplace):
        return _frozen(_laplace(event.scale / changed))
    from hedgerow.privacy.discrete import discrete_gaussian_rdp, skellam_rdp

    l1, l2 = changed * event.l1, changed * event.l2
    if isinstance(event, Skellam):
        return _frozen(np.array([skellam_rdp(order, variance=event.variance, l1=l1, l2=l2) for order in ORDERS]))
    summed = partial(
        discrete_gaussian_rdp, variance=event.variance, parties=event.parties, dimension=event.dimension, l1=l1, l2=l2
    )
    return _frozen(np.array([summed(order) for order in ORDERS]))


def _laplace(scale: float) -> Floats:
    alphas = _ALPHAS
    up = np.log(alphas / (2 * alphas - 1)) + (alphas - 1) / scale
    down = np.log((alphas - 1) / (2 * alphas - 1)) - alphas / scale
    return np.minimum(np.logaddexp(up, down) / (alphas - 1), 1 / scale)


def _frozen(curve: Floats) -> Floats:
    curve.flags.writeable = False
    return curve
