"""The least noise for a price."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from hedgerow.errors import Misconfigured
from hedgerow.privacy.accounting.allowed import Accountant, Relation, check_allowed
from hedgerow.privacy.accounting.events import SampledGaussian
from hedgerow.privacy.accounting.price import check_delta, numerical_epsilon
from hedgerow.privacy.accounting.price import epsilon as price
from hedgerow.privacy.accounting.prv import prv_epsilon
from hedgerow.privacy.accounting.rdp import ORDERS, converted
from hedgerow.privacy.accounting.renyi import sampled_gaussian_rdp

__all__ = ["calibrate"]

Floats = NDArray[np.float64]
_Price = Callable[[float], float]

_COARSE_ORDERS: tuple[float, ...] = (1.5, 2, 3, 4, 6, 8, 12, 18, 27, 40, 63, 128, 256, 1024)
_MIN_NOISE, _MAX_NOISE = 1e-3, 1e5
_TOLERANCE = 8e-4  # with rounding up to five digits, within 1e-3 of the smallest noise


@lru_cache(maxsize=4096)
def calibrate(
    *,
    epsilon: float,
    delta: float,
    q: float,
    steps: int,
    accountant: Accountant = "pld",
    relation: Relation = "add_remove",
) -> float:
    """Find the least noise with which `steps` sums over Poisson samples of rate `q` cost at most `epsilon`.

    As a multiplier: the noise's standard deviation over the largest length that a record can add.

    Guarantee: the price of the returned noise is never above `epsilon`; it lies at most 0.1 % above the smallest noise
    that this accountant accepts, and has five significant digits.
    Raises: Misconfigured E131 if no noise is enough, E103 for values out of range, E104 for an unknown accountant or
    relation, E105 for a combination whose price is not known.
    Cost: about 20 ms (`"rdp"`: 3); the answer is kept for the next time.
    """
    if not 0.0 < epsilon < math.inf:
        raise Misconfigured("E103", f"epsilon={epsilon!r}, expected > 0 and finite", place="epsilon")
    if steps < 1:
        raise Misconfigured("E103", f"steps={steps!r}, expected >= 1", place="steps")
    check_delta(delta)

    def step(noise: float, times: int = steps) -> SampledGaussian:
        return SampledGaussian(q=q, noise_multiplier=noise, steps=times)

    def exact(noise: float) -> float:
        return price([step(noise)], delta, accountant, relation)

    check_allowed([step(1.0)], accountant, relation)
    rough, orders = _renyi_start(epsilon, delta, q, steps)
    final: _Price = exact
    search, start, beyond = final, 0.95 * rough, 2.0
    if accountant == "rdp":
        # Fewer orders give a larger bound, never a smaller one: searching on a few of them stays sound.
        search = final = _by_orders(orders, delta, q, steps)
        start = rough
    elif accountant == "prv":
        start = _least_noise(partial(_estimate, step(1.0, 1), steps, delta), epsilon, start, _TOLERANCE / 4)
        beyond = 0.8
    else:
        search = partial(_one_way, step(1.0), delta, relation)
        start *= 2.0 if relation == "replace_one" else 1.0
    noise = _rounded_up(_least_noise(search, epsilon, start, _TOLERANCE, beyond=beyond))
    if final(noise) > epsilon * (1 + _TOLERANCE):
        noise = _rounded_up(_least_noise(final, epsilon, noise, _TOLERANCE))
    while final(noise) > epsilon:  # rounding never costs privacy, whatever the search did
        noise = _rounded_up(noise * 1.0001)
    return noise


def _estimate(step: SampledGaussian, steps: int, delta: float, noise: float) -> float:
    return prv_epsilon([(replace(step, noise_multiplier=noise), steps)], delta, rough=True)


def _one_way(steps: SampledGaussian, delta: float, relation: Relation, noise: float) -> float:
    return numerical_epsilon([replace(steps, noise_multiplier=noise)], delta, relation, one_way=True)


def _renyi_start(limit: float, delta: float, q: float, steps: int) -> tuple[float, tuple[float, ...]]:
    """Enough noise by Rényi's bound at a few orders, and the orders around the best of them."""
    guess = q * math.sqrt(2 * steps * math.log(1 / delta)) / limit + 0.4
    rough = _least_noise(_by_orders(_COARSE_ORDERS, delta, q, steps), limit, guess, 0.02)
    return rough, _near_best_order(sampled_gaussian_rdp(rough, q, _COARSE_ORDERS) * steps, delta)


def _by_orders(orders: tuple[float, ...], delta: float, q: float, steps: int) -> _Price:
    return lambda noise: converted(orders, sampled_gaussian_rdp(noise, q, orders) * steps, delta)


def _near_best_order(coarse_rdp: Floats, delta: float) -> tuple[float, ...]:
    """All orders between the two neighbours of the best coarse one."""
    bounds = [converted((order,), coarse_rdp[i : i + 1], delta) for i, order in enumerate(_COARSE_ORDERS)]
    best = int(np.argmin(bounds))
    low = _COARSE_ORDERS[best - 1] if best > 0 else ORDERS[0]
    high = _COARSE_ORDERS[min(best + 1, len(_COARSE_ORDERS) - 1)]
    return tuple(order for order in ORDERS if low <= order <= high)


def _least_noise(price: _Price, limit: float, start: float, tolerance: float, *, beyond: float = 2.0) -> float:
    """Find z with price(z) <= limit < price(z / (1 + tolerance)): secants in log-log, where prices are nearly lines.

    Until both sides are known, a trial goes `beyond` tolerances further than a guess: less where `start` is near.
    """
    low: tuple[float, float] | None = None  # too little noise: (log z, log price - log limit)
    high: tuple[float, float] | None = None  # enough noise
    x = math.log(min(max(start, _MIN_NOISE), _MAX_NOISE))
    for trial in range(200):
        cost = price(math.exp(x))
        excess = math.log(cost / limit) if cost > 0.0 else -math.inf
        if excess > 0.0:
            low = (x, excess)
            if x >= math.log(_MAX_NOISE):
                raise Misconfigured(
                    "E131",
                    f"no noise level meets epsilon {limit:g}: {cost:.3g} is left at noise multiplier {_MAX_NOISE:g}",
                    hint="raise epsilon or delta, or train fewer rounds",
                )
        else:
            high = (x, excess)
            if x <= math.log(_MIN_NOISE):
                return math.exp(x)
        if low is not None and high is not None and high[0] - low[0] <= tolerance:
            return math.exp(high[0])
        x = _next_trial(low, high, tolerance, beyond, bisect=trial % 8 == 7)
    raise AssertionError("the price of noise does not fall")


def _next_trial(
    low: tuple[float, float] | None,
    high: tuple[float, float] | None,
    tolerance: float,
    beyond: float,
    *,
    bisect: bool,
) -> float:
    if high is None:
        assert low is not None
        return min(low[0] + min(low[1], 2.0) / 1.4 + beyond * tolerance, math.log(_MAX_NOISE))
    if low is None:
        return max(high[0] + max(high[1], -2.0) / 1.4 - beyond * tolerance, math.log(_MIN_NOISE))
    width = high[0] - low[0]
    if bisect or not math.isfinite(low[1] + high[1]):
        return low[0] + width / 2
    root = low[0] + width * low[1] / (low[1] - high[1])
    # One trial just above the expected root, the next just below it: that closes the bracket from both sides.
    aim = root + 0.4 * tolerance if high[0] - root > 0.9 * tolerance else root - 0.4 * tolerance
    return min(max(aim, low[0] + 0.02 * width), high[0] - 0.02 * width)


def _rounded_up(noise: float) -> float:
    digits = 4 - math.floor(math.log10(noise))
    rounded = round(noise, digits)
    return rounded if rounded >= noise else round(rounded + 10.0**-digits, digits)
