"""What one release takes of a data set in any events, for one unit or several, as it is written into the ledger.

A round of DP-SGD is a `Charge`; everything else that is released (a histogram, a noisy count, a secure sum) is an
outlay: the events as they happened, and for each unit the budget that all its charges together must keep.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from hedgerow.errors import Misconfigured
from hedgerow.privacy.accounting import DiscreteGaussian, Event, Gaussian, Laplace, Relation, SampledGaussian, Skellam

__all__ = ["UNITS", "Budget", "Outlay", "Part", "check_budget", "check_unit", "outlay_of"]

UNITS = ("record", "person", "site")
Budget = tuple[float, float]  # ε, and the δ at which it holds

_KINDS: Mapping[str, type[Event]] = {
    kind.__name__: kind for kind in (SampledGaussian, Gaussian, Laplace, Skellam, DiscreteGaussian)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a release takes of one unit: its events, and the budget that all charges of the unit must keep."""

    unit: str
    events: tuple[Event, ...]
    epsilon: float
    delta: float

    def counted(self) -> tuple[tuple[Event, int], ...]:
        """Events of one step each, and how often each happens."""
        return tuple((replace(event, steps=1), event.steps) for event in self.events)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlay:
    """A release from a data set: a part for every unit that pays for it, and who asked for it.

    `relation` is that in which its budgets are priced. `job` and `run` say what it was for, and `randomness` where its
    noise comes from; left empty they are reported as not stated.
    """

    stream: ClassVar[str] = ""  # no seed: a repeat is new noise and a new charge
    dataset: str
    parts: tuple[Part, ...]
    relation: Relation = "add_remove"
    job: str = ""
    run: str = ""
    randomness: str = ""

    def facts(self) -> dict[str, Any]:
        """The outlay as plain values; `from_facts` reads them back."""
        words = {name: getattr(self, name) for name in ("dataset", "relation", "job", "run", "randomness")}
        return {**words, "parts": [_part_facts(part) for part in self.parts]}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Outlay":
        """Raises: KeyError, TypeError, ValueError or Misconfigured for what no version wrote, or only a newer one."""
        return cls(**{**facts, "parts": tuple(_part(part) for part in facts["parts"])})


def outlay_of(
    events: Event | Sequence[Event] | Mapping[str, Event | Sequence[Event]],
    *,
    dataset: str,
    unit: str = "",
    budget: Budget | Mapping[str, Budget],
    relation: Relation = "add_remove",
    job: str = "",
    run: str = "",
    randomness: str = "",
) -> Outlay:
    """The outlay of `events` against `unit`, or of events and budgets by unit where several pay for one release.

    Raises: Misconfigured E104 for a unit that there is not or that is not said, E103 for no events and for budgets out
    of range.

    >>> outlay_of(Laplace(scale=2.0), dataset="ward-7", unit="record", budget=(1.0, 1e-6)).parts[0].counted()
    ((Laplace(scale=2.0, steps=1), 1),)
    """
    if not dataset:
        raise Misconfigured("E103", "the data set has no name", place="dataset")
    by_unit = dict(events) if isinstance(events, Mapping) else {unit: events}
    if isinstance(events, Mapping) and unit:
        raise Misconfigured("E104", "the unit is said twice", place="unit", hint="leave unit= out: the events name it")
    budgets = dict(budget) if isinstance(budget, Mapping) else dict.fromkeys(by_unit, budget)
    if budgets.keys() != by_unit.keys():
        raise Misconfigured("E104", "events and budgets name different units", place="budget")
    parts = []
    for name, listed in by_unit.items():
        check_unit(name)
        epsilon, delta = budgets[name]
        check_budget(epsilon, delta)
        several = (listed,) if isinstance(listed, Event) else tuple(listed)
        plain = tuple(_event(_event_facts(event)) for event in several)
        if not any(event.steps for event in plain):
            raise Misconfigured("E103", "there is no event to charge", place="events")
        parts.append(Part(unit=name, events=plain, epsilon=float(epsilon), delta=float(delta)))
    if not parts:
        raise Misconfigured("E103", "there is no event to charge", place="events")
    return Outlay(dataset=dataset, parts=tuple(parts), relation=relation, job=job, run=run, randomness=randomness)


def check_unit(unit: str) -> None:
    """Raises: Misconfigured E104 for a unit that there is not."""
    if unit not in UNITS:
        words = " or ".join(map(repr, UNITS))
        raise Misconfigured("E104", f"unit {unit!r} is not a unit of privacy", place="unit", hint=f"choose {words}")


def check_budget(epsilon: float, delta: float) -> None:
    """Raises: Misconfigured E103 for an ε that is not positive and finite, or a δ outside (0, 1)."""
    if not 0.0 < epsilon < math.inf:
        raise Misconfigured("E103", f"epsilon={epsilon!r}, expected > 0 and finite", place="epsilon")
    if not 0.0 < delta < 1.0:
        raise Misconfigured("E103", f"delta={delta!r}, expected in (0, 1)", place="delta")


def _part_facts(part: Part) -> dict[str, Any]:
    events = [_event_facts(event) for event in part.events]
    return {"unit": part.unit, "events": events, "epsilon": part.epsilon, "delta": part.delta}


def _part(facts: Mapping[str, Any]) -> Part:
    return Part(**{**facts, "events": tuple(_event(event) for event in facts["events"])})


def _event_facts(event: Event) -> dict[str, str | int | float]:
    """The event as plain values of fixed types, numpy's numbers too."""
    kind = type(event).__name__
    if _KINDS.get(kind) is not type(event):
        raise Misconfigured("E105", f"{kind} is no event that can be written down", place="events")
    facts = {field.name: _PLAIN[field.type](getattr(event, field.name)) for field in fields(event)}
    return {"kind": kind, **facts}


def _event(facts: Mapping[str, Any]) -> Event:
    values = dict(facts)
    return _KINDS[values.pop("kind")](**values)


_PLAIN: Mapping[Any, Any] = {float: float, int: int, str: str}
