"""An operator's limit on what a data set's unit may lose over all jobs and years."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hedgerow.privacy.outlay import check_budget, check_unit

__all__ = ["Limit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most `epsilon` at `delta`, for all that is ever released about one `unit` of a data set.

    Without a `delta` it holds at the smallest δ that was promised in any charge.
    Raises: Misconfigured E103 for values out of range, E104 for an unknown unit.

    >>> Limit(unit="record", epsilon=3.0, delta=1e-5).words
    'epsilon 3 at delta 1e-05'
    """

    unit: str
    epsilon: float
    delta: float | None = None

    def __post_init__(self) -> None:
        check_unit(self.unit)
        check_budget(self.epsilon, 0.5 if self.delta is None else self.delta)

    @property
    def words(self) -> str:
        at = "the smallest delta promised" if self.delta is None else f"delta {self.delta:g}"
        return f"epsilon {self.epsilon:g} at {at}"

    def facts(self) -> dict[str, Any]:
        """The limit as plain values."""
        delta = None if self.delta is None else float(self.delta)
        return {"unit": self.unit, "epsilon": float(self.epsilon), "delta": delta}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Limit":
        """Raises: TypeError or Misconfigured for what was not written by `facts`."""
        return cls(**facts)
