"""A plan as text, so that a run goes on with the very numbers it began with, on whatever machine."""

import json
from dataclasses import asdict

from hedgerow.errors import HedgerowError, Tampered
from hedgerow.privacy.correlated.blt import Blt
from hedgerow.privacy.correlated.plan import Plan, plan_of
from hedgerow.privacy.correlated.sensitivity import Participation
from hedgerow.privacy.correlated.toeplitz import Banded
from hedgerow.privacy.correlated.workload import Workload

__all__ = ["read_plan", "write_plan"]

_VERSION = 1


def write_plan(plan: Plan) -> str:
    """The plan as one line of JSON. It holds no secret: the noise's shape may be known, what was drawn may not."""
    return json.dumps(
        {
            "version": _VERSION,
            "mechanism": {"type": type(plan.mechanism).__name__, **asdict(plan.mechanism)},
            "participation": asdict(plan.participation),
            "workload": asdict(plan.workload),
            "epsilon": plan.epsilon,
            "delta": plan.delta,
            "poisson_rate": plan.poisson_rate,
        }
    )


def read_plan(text: str) -> Plan:
    """The plan that `write_plan` wrote, with the same digest.

    Sensitivity and noise are worked out again from the mechanism, the participation, ε and δ: no file can ask for less
    noise than its own ε and δ need.
    Raises: Tampered E401 for a text that is not a plan of this version.

    >>> from hedgerow.privacy.correlated.plan import plan
    >>> job = plan(rounds=50, min_separation=5, max_participations=3, epsilon=2.0, delta=1e-5)
    >>> read_plan(write_plan(job)) == job
    True
    """
    try:
        fields = json.loads(text)
        if fields["version"] != _VERSION:
            raise ValueError(f"version {fields['version']!r}, expected {_VERSION}")
        kinds: dict[str, type[Banded] | type[Blt]] = {"Banded": Banded, "Blt": Blt}
        numbers = {name: tuple(map(float, value)) for name, value in fields["mechanism"].items() if name != "type"}
        workload = {**fields["workload"], "rates": tuple(map(float, fields["workload"]["rates"]))}
        return plan_of(
            kinds[fields["mechanism"]["type"]](**numbers),
            Participation(**fields["participation"]),
            Workload(**workload),
            epsilon=fields["epsilon"],
            delta=fields["delta"],
            poisson_rate=fields["poisson_rate"],
        )
    except (HedgerowError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Tampered("E401", f"the plan of the noise cannot be read: {error}", place="noise plan") from error
