"""What a record's participation costs: events on one side, their price in ε on the other.

An event says what happened (`SampledGaussian`); `epsilon` prices a list of events and `calibrate` finds
the least noise for a price. Unit: one record. Relation: add or remove one record. Both accountants are
upper bounds, by Opacus's analysis at more orders and with an exact mean:

- `"rdp"`: Rényi differential privacy (Mironov, Talwar and Zhang, "Rényi differential privacy of the
  sampled Gaussian mechanism", arXiv 1908.10530, sec. 3.3), converted with Balle et al., arXiv 1905.09982,
  theorem 21. Cheap, 7-19 % above the truth.
- `"prv"`: numerical composition (Gopi, Lee and Wutschitz, arXiv 2106.02848), within 0.01 of the truth, slower.

The central-limit accountant ("gdp") is not offered: it reports less than the true ε.

>>> steps = [SampledGaussian(noise_multiplier=1.0, sampling_rate=0.01, steps=1000)]
>>> round(epsilon(steps, delta=1e-5, accountant="rdp"), 3)
2.101
>>> calibrate(epsilon=2.101, delta=1e-5, sampling_rate=0.01, steps=1000, accountant="rdp")
1.0006
"""

import importlib
import importlib.util
import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hedgerow.errors import Misconfigured
from hedgerow.privacy.composition import composed_epsilon
from hedgerow.privacy.renyi import sampled_gaussian_rdp

__all__ = ["Accountant", "SampledGaussian", "calibrate", "epsilon", "rdp_curve", "rdp_epsilon"]

Accountant = Literal["rdp", "prv"]

_HIGH_ORDERS = (64, 80, 96, 128, 192, 256, 384, 512, 1024)
_ORDERS: tuple[float, ...] = (*(1 + x / 10 for x in range(1, 100)), *range(12, 64), *_HIGH_ORDERS)
_COARSE_ORDERS: tuple[float, ...] = (1.5, 2, 3, 4, 6, 8, 12, 18, 27, 40, 63, 128, 256, 1024)
_ROUNDING = 1000 * 2.0**-52  # of probability, for each step: what the transform's rounding can hide, with a margin
_PRV_LIMIT = 60.0  # above this the grid of the numerical composition outgrows memory; Rényi's bound stands
_MIN_NOISE, _MAX_NOISE = 1e-3, 1e5
_TOLERANCE = 8e-4  # with rounding up to five digits, within 1e-3 of the smallest noise


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledGaussian:
    """`steps` noisy sums over Poisson samples.

    Each record is in each sum with probability `sampling_rate`, independently; the noise's standard
    deviation is `noise_multiplier` times the most that one record can change the sum.
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int

    def __post_init__(self) -> None:
        _check("noise_multiplier", self.noise_multiplier, 0.0 <= self.noise_multiplier < math.inf, ">= 0 and finite")
        _check("sampling_rate", self.sampling_rate, 0.0 < self.sampling_rate <= 1.0, "in (0, 1]")
        _check("steps", self.steps, self.steps >= 0, ">= 0")


def epsilon(events: Sequence[SampledGaussian], delta: float, accountant: Accountant = "rdp") -> float:
    """Price `events` together: the ε at `delta` that one record loses by taking part in all of them.

    Guarantee: an upper bound for every order of the events and for adaptively chosen models. `"prv"` never
    returns more than `"rdp"`: both bound the same quantity, so the smaller one holds, and where the numerical
    composition cannot be computed Rényi's bound is returned. Without noise the answer is infinity.
    Raises: Misconfigured E103 for a delta outside (0, 1), E104 for an unknown accountant.
    Cost: about 2 ms (`"prv"`: 50) for a pair (noise, rate) never seen before in this process, microseconds afterwards.
    """
    _check("delta", delta, 0.0 < delta < 1.0, "in (0, 1)")
    _check_accountant(accountant)
    totals: Counter[tuple[float, float]] = Counter()
    for event in events:
        if event.steps:
            totals[event.noise_multiplier, event.sampling_rate] += event.steps
    if not totals:
        return 0.0
    if accountant == "prv":
        return _composed(totals, delta)
    return rdp_epsilon(sum((rdp_curve(*pair) * n for pair, n in totals.items()), np.zeros(len(_ORDERS))), delta)


@lru_cache(maxsize=4096)
def rdp_curve(noise_multiplier: float, sampling_rate: float) -> NDArray[np.float64]:
    """One step's Rényi divergence at every order, `(orders,)`, read-only. Curves of composed steps add up."""
    curve = sampled_gaussian_rdp(noise_multiplier, sampling_rate, _ORDERS)
    curve.flags.writeable = False
    return curve


def rdp_epsilon(rdp: NDArray[np.float64], delta: float) -> float:
    """Convert a composed Rényi curve, as `rdp_curve` lays it out, to ε at `delta`."""
    return _converted(_ORDERS, rdp, delta)


@lru_cache(maxsize=4096)
def calibrate(*, epsilon: float, delta: float, sampling_rate: float, steps: int, accountant: Accountant) -> float:
    """Find the smallest noise multiplier whose `steps` cost at most `epsilon`.

    Guarantee: the price of the returned noise is never above `epsilon`; it lies at most 0.1 % above the
    smallest noise that this accountant accepts, and has five significant digits.
    Raises: Misconfigured E131 if no noise is enough, E103 for values out of range, E104 for an unknown accountant.
    """
    _check("epsilon", epsilon, 0.0 < epsilon < math.inf, "> 0 and finite")
    _check("delta", delta, 0.0 < delta < 1.0, "in (0, 1)")
    _check("sampling_rate", sampling_rate, 0.0 < sampling_rate <= 1.0, "in (0, 1]")
    _check("steps", steps, steps >= 1, ">= 1")
    _check_accountant(accountant)

    def price(orders: tuple[float, ...]) -> Callable[[float], float]:
        # Fewer orders give a larger bound, never a smaller one: searching on a few of them stays sound.
        return lambda noise: _converted(orders, sampled_gaussian_rdp(noise, sampling_rate, orders) * steps, delta)

    guess = sampling_rate * math.sqrt(2 * steps * math.log(1 / delta)) / epsilon + 0.4
    rough = _least_noise(price(_COARSE_ORDERS), epsilon, guess, 0.02)
    rdp_price = price(_near_best_order(sampled_gaussian_rdp(rough, sampling_rate, _COARSE_ORDERS) * steps, delta))
    noise = _rounded_up(_least_noise(rdp_price, epsilon, rough, _TOLERANCE))
    final: Callable[[float], float] = rdp_price
    if accountant == "prv":

        def composed(rough: bool) -> Callable[[float], float]:
            return lambda noise: _composed({(noise, sampling_rate): steps}, delta, rough=rough)

        final = composed(rough=False)
        near = _least_noise(composed(rough=True), epsilon, 0.95 * noise, _TOLERANCE / 4)
        noise = _rounded_up(_least_noise(final, epsilon, near, _TOLERANCE, beyond=0.8))
    while final(noise) > epsilon:  # rounding never costs privacy, whatever the search did
        noise = _rounded_up(noise * 1.0001)
    return noise


def _converted(orders: Sequence[float], rdp: NDArray[np.float64], delta: float) -> float:
    if not np.isfinite(rdp).any():
        return math.inf
    # Opacus warns when the best order is the first or the last of the list; infinite sentinels never are.
    padded = np.concatenate(([math.inf], rdp, [math.inf]))
    value, _ = _analysis().get_privacy_spent(orders=[1.05, *orders, 2048.0], rdp=padded, delta=delta)
    return max(float(value), 0.0)


def _near_best_order(coarse_rdp: NDArray[np.float64], delta: float) -> tuple[float, ...]:
    """All orders between the two neighbours of the best coarse one."""
    bounds = [_converted((order,), coarse_rdp[i : i + 1], delta) for i, order in enumerate(_COARSE_ORDERS)]
    best = int(np.argmin(bounds))
    low = _COARSE_ORDERS[best - 1] if best > 0 else _ORDERS[0]
    high = _COARSE_ORDERS[min(best + 1, len(_COARSE_ORDERS) - 1)]
    return tuple(order for order in _ORDERS if low <= order <= high)


def _least_noise(
    price: Callable[[float], float], limit: float, start: float, tolerance: float, *, beyond: float = 2.0
) -> float:
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


def _composed(totals: Mapping[tuple[float, float], int], delta: float, *, rough: bool = False) -> float:
    """As `epsilon` with "prv"."""
    curves = {pair: rdp_curve(*pair) for pair in totals}
    whole = sum((curve * totals[pair] for pair, curve in curves.items()), np.zeros(len(_ORDERS)))
    bound = rdp_epsilon(whole, delta)
    if bound > _PRV_LIMIT:
        return bound
    if delta < _ROUNDING * sum(totals.values()):
        return bound  # rounding in the transform weighs as much as delta
    # What lies outside the grid must weigh less than a thousandth of delta: all steps together, and each alone.
    outside, steps = delta / 1000, sum(totals.values())
    reach = [rdp_epsilon(whole, outside / 4), *(rdp_epsilon(curve, outside / (8 * steps)) for curve in curves.values())]
    if not math.isfinite(max(reach)):
        return bound
    composed = composed_epsilon(
        tuple((*pair, times) for pair, times in sorted(totals.items())), delta, max(reach) + 3, rough=rough
    )
    return min(bound, composed)


@lru_cache(maxsize=1)
def _analysis() -> ModuleType:
    """Opacus's Rényi analysis, loaded by itself: pricing a job needs neither torch nor the rest of Opacus."""
    name = "opacus.accountants.analysis.rdp"
    if "opacus" not in sys.modules:
        package = importlib.util.find_spec("opacus")
        if package is None or package.origin is None:
            raise Misconfigured("E107", "opacus is not installed", hint="pip install 'hedgerow[full]'")
        file = Path(package.origin).parent / "accountants" / "analysis" / "rdp.py"
        spec = importlib.util.spec_from_file_location("hedgerow_opacus_rdp", file)
        if spec is not None and spec.loader is not None and file.exists():
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return importlib.import_module(name)


def _check(name: str, value: float, valid: bool, expected: str) -> None:
    if not valid:
        raise Misconfigured("E103", f"{name}={value!r}, expected {expected}", place=name)


def _check_accountant(accountant: str) -> None:
    if accountant not in ("rdp", "prv"):
        raise Misconfigured(
            "E104", f"accountant {accountant!r} is not offered", place="accountant", hint="choose 'rdp' or 'prv'"
        )
