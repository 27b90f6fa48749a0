"""Choose the integer grid of a job: the coarsest that costs next to nothing beside real numbers, or a refusal.

A finer grid loses less to rounding but needs more bits; more noise needs more bits as well. The plan finds the scale at
which the clip and the noise are both within `tolerance` of what real-valued updates and a central Gaussian would need,
then the modulus that the sum does not wrap around in, with a bound on the chance that it does.
"""

import math
from collections.abc import Callable
from dataclasses import replace

from hedgerow.errors import Misconfigured
from hedgerow.privacy.accounting import Skellam
from hedgerow.privacy.accounting import epsilon as price_of
from hedgerow.privacy.discrete.divergence import ORDERS, discrete_gaussian_rdp, renyi_to_epsilon, skellam_rdp
from hedgerow.privacy.discrete.grid import Grid, Law, Noise, noise_event
from hedgerow.privacy.discrete.rotation import flatness, rotated_size
from hedgerow.privacy.discrete.rounding import longest_before_rounding
from hedgerow.privacy.discrete.skellam import MAX_VARIANCE

__all__ = ["Price", "ledger_price", "overflow_bound", "plan_grid", "renyi_price"]

MAX_BITS = 32
WARN_RATIO, REFUSE_RATIO = 3.0, 30.0  # noise over signal: above the first little is learnt, above the second nothing

_WORDS = (16, 32)  # what a number takes on the wire
_LEAST_CLIP = 0.5  # of the clip that must be left after rounding, when the bits are given
_MIN_NOISE, _MAX_NOISE = 1e-3, 1e5
_MAX_SCALED_CLIP = 2.0**30
_STEEPEST = 512.0  # of Chernoff's t: any t gives a bound, and beyond this one sinh overflows


Price = Callable[[Noise, float], float]  # (event, δ) -> ε


def ledger_price(event: Noise, delta: float) -> float:
    """ε at `delta` as a ledger prices the event by default."""
    return price_of([event], delta)


def renyi_price(event: Noise, delta: float) -> float:
    """ε at `delta` by Rényi composition alone: quicker, for the many events that a plan tries and drops.

    >>> round(renyi_price(Skellam(variance=1e6, l1=1e3, l2=1e3), 1e-5), 3)
    4.753
    """
    if isinstance(event, Skellam):
        curve = [skellam_rdp(order, variance=event.variance, l1=event.l1, l2=event.l2) for order in ORDERS]
    else:
        known = {"parties": event.parties, "dimension": event.dimension}
        curve = [
            discrete_gaussian_rdp(order, variance=event.variance, l1=event.l1, l2=event.l2, **known) for order in ORDERS
        ]
    return renyi_to_epsilon([event.steps * divergence for divergence in curve], delta)


def plan_grid(
    *,
    dimension: int,
    clients: int,
    honest: int,
    clip: float,
    epsilon: float,
    delta: float,
    steps: int,
    groups: int = 1,
    law: Law = "skellam",
    bits: int | None = None,
    tolerance: float = 0.01,
    overflow: float = 1e-6,
    price: Price = ledger_price,
) -> Grid:
    """Plan sums of `clients` sites' updates of `dimension` numbers, `honest` of them sure to add their noise.

    `epsilon` and `delta` are for all `steps` together, for one site more or less, and for whoever sees the sums: no
    amplification by sampling is claimed. `groups` sums a step are disjoint and cost nothing more. `bits` is chosen if
    it is not given. `overflow` is the chance, over the job, that some coordinate wraps around: it costs accuracy, not
    privacy. `price` is called some twenty times for
    the noise itself; what is searched on the way is priced by Rényi's bound.

    Raises: Misconfigured E103 for a value out of range, E105 if no modulus of at most 32 bits (or of the given ones)
    holds the sum, E131 if no noise meets ε or the noise is more than thirty times what it hides.

    >>> grid = plan_grid(dimension=10_000, clients=40, honest=30, clip=1.0, epsilon=8.0, delta=1e-5, steps=20)
    >>> grid.bits, round(grid.noise_multiplier, 2), round(grid.noise_to_signal, 1)
    (16, 2.85, 8.2)
    >>> grid.warnings[0]
    'the noise is 8.2 times as long as the longest mean of 40 updates: little will be learnt'
    """
    _check_all(dimension, clients, honest, clip, epsilon, delta, steps, groups, bits, tolerance, overflow)

    size = rotated_size(dimension)

    def event(length: float, multiplier: float) -> Noise:
        variance = (multiplier * length) ** 2
        return noise_event(law, variance=variance, parties=honest, size=size, length=length, steps=steps)

    def noise(length: float, priced: Price = renyi_price) -> float:
        return _least_noise(lambda multiplier: priced(event(length, multiplier), delta) <= epsilon)

    ideal = noise(_MAX_SCALED_CLIP)
    if not math.isfinite(ideal):
        raise Misconfigured("E131", f"no noise keeps {steps} steps within ε = {epsilon:g}", place="epsilon")

    def close(length: float, within: float) -> bool:
        kept = longest_before_rounding(length, size) / length
        return kept >= 1 - within and noise(length) <= (1 + within) * ideal

    def wraps(length: float, width: int) -> bool:
        share = (noise(length) * length) ** 2 / honest
        return (
            share > MAX_VARIANCE
            or _wraps(dimension, clients, length, law, share, width, steps * groups) > 0.9 * overflow
        )

    coarsest = _threshold(lambda length: close(length, tolerance))
    finest = _threshold(lambda length: close(length, tolerance / 10))
    if bits is None:
        fitting = [width for width in _WORDS if math.isfinite(coarsest) and not wraps(coarsest, width)]
        if not fitting:
            raise Misconfigured(
                "E105",
                f"sums of {clients} updates of {dimension} numbers do not fit {MAX_BITS} bits",
                place="bits",
                hint="more ε, fewer steps or fewer sites in a sum need fewer",
            )
        width = fitting[0]
    else:
        width = bits
    limit = _threshold(lambda length: wraps(length, width)) / (1 + 1e-5)
    length = min(finest, limit)
    kept = longest_before_rounding(length, size) / length
    if kept < _LEAST_CLIP:
        raise Misconfigured(
            "E105",
            f"{width} bits are too few for sums of {clients} updates of {dimension} numbers",
            place="bits",
            hint="leave the bits to the plan, or allow more ε",
        )
    multiplier = noise(length, price)
    if not math.isfinite(multiplier):
        raise Misconfigured("E131", f"no noise keeps {steps} steps within ε = {epsilon:g}", place="epsilon")
    share = (multiplier * length) ** 2 / honest * (1 + 1e-12)  # what is charged is computed back from the share
    chance = _wraps(dimension, clients, length, law, share, width, steps * groups)
    if chance > overflow or share > MAX_VARIANCE:  # the given price asks for more noise than Rényi's
        raise Misconfigured("E105", f"the noise does not fit {width} bits", place="bits")
    grid = Grid(
        dimension=dimension,
        clients=clients,
        honest=honest,
        clip=clip,
        input_clip=clip * kept,
        scale=length / clip,
        law=law,
        share=share,
        bits=width,
        overflow=chance,
        epsilon=math.inf,
        delta=delta,
        steps=steps,
        noise_to_signal=math.sqrt(dimension * clients * groups * share) / (length * clients * groups),
    )
    return replace(grid, epsilon=price(grid.event, delta), warnings=_judged(grid, groups, tolerance))


def overflow_bound(grid: Grid, sums: int = 1) -> float:
    """The chance, at most, that any coordinate of `sums` sums of the grid wraps around.

    By Chernoff's bound over the rotation's signs and the noise of all clients, every update as long and all in one
    direction; rounding is bounded in the worst case. Not against sites that choose their numbers to cause it.
    """
    bound = _wraps(grid.dimension, grid.clients, grid.l2, grid.law, grid.share, grid.bits, sums)
    return min(1.0, bound)


def _wraps(dimension: int, clients: int, length: float, law: Law, share: float, bits: int, sums: int) -> float:
    size = rotated_size(dimension)
    room = (1 << (bits - 1)) - 1 - clients  # rounding moves each site's number by less than 1
    if room <= 0:
        return math.inf
    signal = flatness(dimension) * (clients * length) ** 2 / size
    noise = clients * share
    exponent = _chernoff(room, signal + noise, 0.0) if law == "discrete_gaussian" else _chernoff(room, signal, noise)
    return 2 * size * sums * math.exp(exponent)


def _chernoff(room: float, gaussian: float, skellam: float) -> float:
    """The least, over t, of log E exp(t X) - t · room, for X a sum of a sub-Gaussian and a Skellam variable."""
    low, high = 0.0, 1.0
    while high < _STEEPEST and gaussian * high + skellam * math.sinh(high) < room:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian * middle + skellam * math.sinh(middle) < room else (low, middle)
    t = low
    return gaussian * t**2 / 2 + 2 * skellam * math.sinh(t / 2) ** 2 - t * room


def _threshold(holds: Callable[[float], bool]) -> float:
    """The least clip on the grid from which on `holds` is true; infinite if it never is."""
    low, high = 0.0, math.log(_MAX_SCALED_CLIP)
    if not holds(math.exp(high)):
        return math.inf
    if holds(1.0):
        return 1.0
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(math.exp(middle)) else (middle, high)
    return math.exp(high)


def _least_noise(enough: Callable[[float], bool]) -> float:
    """The least noise multiplier that is enough, to 1e-4 and never less; infinite if none is."""
    low, high = math.log(_MIN_NOISE), math.log(_MAX_NOISE)
    if not enough(math.exp(high)):
        return math.inf
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(math.exp(middle)) else (middle, high)
    return math.exp(high)


def _judged(grid: Grid, groups: int, tolerance: float) -> tuple[str, ...]:
    updates = grid.clients * groups
    ratio = grid.noise_to_signal
    if ratio > REFUSE_RATIO:
        raise Misconfigured(
            "E131",
            f"the noise is {ratio:.1f} times as long as the longest mean of {updates} updates",
            place="epsilon",
            hint="more sites, fewer parameters or record-level privacy inside each site need less",
        )
    warnings = []
    if ratio > WARN_RATIO:
        warnings.append(
            f"the noise is {ratio:.1f} times as long as the longest mean of {updates} updates: little will be learnt"
        )
    lost = 1 - grid.input_clip / grid.clip
    if lost > 1.001 * tolerance:
        warnings.append(f"{grid.bits} bits are few: rounding costs {lost:.1%} of the clip")
    return tuple(warnings)


def _check_all(
    dimension: int,
    clients: int,
    honest: int,
    clip: float,
    epsilon: float,
    delta: float,
    steps: int,
    groups: int,
    bits: int | None,
    tolerance: float,
    overflow: float,
) -> None:
    checks: tuple[tuple[str, object, bool, str], ...] = (
        ("dimension", dimension, dimension >= 1, ">= 1"),
        ("clients", clients, clients >= 1, ">= 1"),
        ("honest", honest, 1 <= honest <= clients, f"1 … {clients}"),
        ("clip", clip, 0.0 < clip < math.inf, "> 0 and finite"),
        ("epsilon", epsilon, 0.0 < epsilon < math.inf, "> 0 and finite"),
        ("delta", delta, 0.0 < delta < 1.0, "in (0, 1)"),
        ("steps", steps, steps >= 1, ">= 1"),
        ("groups", groups, groups >= 1, ">= 1"),
        ("bits", bits, bits is None or 2 <= bits <= MAX_BITS, f"2 … {MAX_BITS}"),
        ("tolerance", tolerance, 0.0 < tolerance < 0.5, "in (0, 0.5)"),
        ("overflow", overflow, 0.0 < overflow < 1.0, "in (0, 1)"),
    )
    for name, value, valid, expected in checks:
        if not valid:
            raise Misconfigured("E103", f"{name}={value!r}, expected {expected}", place=name)
