"""The price of events: ε at a δ, and δ at an ε."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from hedgerow.errors import Misconfigured
from hedgerow.privacy.accounting.allowed import Accountant, Relation, check_allowed
from hedgerow.privacy.accounting.events import Event, Gaussian, Laplace, SampledGaussian
from hedgerow.privacy.accounting.gaussian import gaussian_epsilon, gaussian_log_delta
from hedgerow.privacy.accounting.losses import Direction, GaussianLoss, LaplaceLoss, Loss, SampledGaussianLoss
from hedgerow.privacy.accounting.pld import Steps, composed_delta, composed_epsilon
from hedgerow.privacy.accounting.prv import prv_epsilon
from hedgerow.privacy.accounting.rdp import composed_curve, rdp_delta, rdp_epsilon

__all__ = ["check_delta", "delta", "epsilon", "numerical_epsilon"]

Totals = tuple[tuple[Event, int], ...]  # events of one step each, and how often


def epsilon(
    events: Sequence[Event], delta: float, accountant: Accountant = "pld", relation: Relation = "add_remove"
) -> float:
    """Price `events` together: the ε at `delta` that one record loses by taking part in all of them.

    Guarantee: an upper bound for every order of the events and for adaptively chosen ones. `"pld"` and `"prv"` never
    return more than `"rdp"`: all bound the same quantity, so the smaller holds. Events that have no privacy loss of one
    number (Skellam, discrete Gaussian) make `"pld"` return Rényi's bound for all. Without noise the answer is infinity.
    Raises: Misconfigured E103 for a delta outside (0, 1), E104 for an unknown accountant or relation, E105 for events
    whose price is not known to be right.
    Cost: a few ms for a setting never seen before in this process, then under one (`"rdp"`: microseconds).
    """
    check_delta(delta)
    check_allowed(events, accountant, relation)
    totals = _counted(events)
    if not totals:
        return 0.0
    bound = rdp_epsilon(composed_curve(totals, relation), delta)
    if accountant == "rdp" or bound == 0.0:
        return bound
    if accountant == "prv":
        return prv_epsilon(totals, delta)
    return min(bound, numerical_epsilon(events, delta, relation))


def delta(
    events: Sequence[Event], epsilon: float, accountant: Accountant = "pld", relation: Relation = "add_remove"
) -> float:
    """The δ at `epsilon` of `events` together: how probable it is, at most, that more than `epsilon` is lost.

    Guarantee and refusals as `epsilon`; `"prv"` answers only the other question (E105).
    Raises: Misconfigured E103 for an epsilon that is negative or not finite.
    """
    _check("epsilon", epsilon, 0.0 <= epsilon < math.inf, ">= 0 and finite")
    check_allowed(events, accountant, relation)
    if accountant == "prv":
        raise Misconfigured("E105", "accountant 'prv' prices a delta, not an epsilon", place="accountant", hint="'pld'")
    totals = _counted(events)
    if not totals:
        return 0.0
    bound = rdp_delta(composed_curve(totals, relation), epsilon)
    whole = _reduced(totals, relation)
    if accountant == "rdp" or whole is None or not math.isfinite(whole.effect):
        return bound
    if not whole.others:
        return min(bound, math.exp(gaussian_log_delta(whole.effect, epsilon)) * (1 + 1e-9))
    return min(bound, max(composed_delta(steps, epsilon) for steps in whole.directions()))


def check_delta(delta: float) -> None:
    """Raises: Misconfigured E103 for a delta outside (0, 1)."""
    _check("delta", delta, 0.0 < delta < 1.0, "in (0, 1)")


def numerical_epsilon(events: Sequence[Event], delta: float, relation: Relation, *, one_way: bool = False) -> float:
    """ε by adding up privacy losses alone; infinite where that is not possible.

    `one_way` looks only at the removal of a record and not at its addition: half of the work of a search.
    """
    whole = _reduced(_counted(events), relation)
    if whole is None or not math.isfinite(whole.effect):
        return math.inf
    if not whole.others:
        return gaussian_epsilon(whole.effect, delta)
    price = 0.0
    for steps in whole.directions():
        price = max(price, composed_epsilon(steps, delta, floor=price))
        if one_way:
            break
    return price


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    """All Gaussian steps as one, of the given effect, and the other losses."""

    effect: float
    others: tuple[tuple[SampledGaussian | Laplace, int], ...]
    relation: Relation

    def directions(self) -> Iterable[Steps]:
        """The losses to compose, once for each way in which the data sets may differ."""
        sampled = any(isinstance(event, SampledGaussian) for event, _ in self.others)
        ways: tuple[Direction, ...] = ("replace",) if self.relation == "replace_one" else ("remove", "add")
        for way in ways if sampled else ways[:1]:
            steps = tuple((_loss(event, way), times) for event, times in self.others)
            yield steps if self.effect == 0.0 else (*steps, (GaussianLoss(self.effect), 1))


def _loss(event: SampledGaussian | Laplace, way: Direction) -> Loss:
    if isinstance(event, SampledGaussian):
        return SampledGaussianLoss(event.q, event.noise_multiplier, way)
    return LaplaceLoss(event.scale / (2.0 if way == "replace" else 1.0))


def _reduced(totals: Totals, relation: Relation) -> _Whole | None:
    """None if an event has no privacy loss that could be added up; an infinite effect if one has no noise."""
    squares = 0.0
    others: list[tuple[SampledGaussian | Laplace, int]] = []
    for event, times in totals:
        if isinstance(event, SampledGaussian | Gaussian):
            if event.noise_multiplier == 0.0:
                squares = math.inf
            elif isinstance(event, Gaussian) or event.q == 1.0:
                squares += times / event.noise_multiplier**2
            else:
                others.append((event, times))
        elif isinstance(event, Laplace):
            others.append((event, times))
        else:
            return None
    changed = 2.0 if relation == "replace_one" else 1.0
    return _Whole(effect=changed * math.sqrt(squares), others=tuple(others), relation=relation)


def _counted(events: Sequence[Event]) -> Totals:
    """Equal events together, in an order of their own: the price does not depend on how they are listed."""
    counts: Counter[Event] = Counter()
    for event in events:
        if event.steps:
            counts[_one(event)] += int(event.steps)
    return tuple(sorted(counts.items(), key=lambda item: repr(item[0])))


@lru_cache(maxsize=1 << 14)
def _one(event: Event) -> Event:
    return replace(event, steps=1)


def _check(name: str, value: float, valid: bool, expected: str) -> None:
    if not valid:
        raise Misconfigured("E103", f"{name}={value!r}, expected {expected}", place=name)
