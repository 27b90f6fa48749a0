"""What correlated noise a training run adds, what it guarantees and what it costs, settled before the first round."""

import hashlib
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hedgerow.errors import Misconfigured
from hedgerow.privacy.correlated.blt import Blt, best_blt
from hedgerow.privacy.correlated.gain import Error, Objective, error_of
from hedgerow.privacy.correlated.gaussian import gaussian_noise
from hedgerow.privacy.correlated.sensitivity import Participation, sensitivity
from hedgerow.privacy.correlated.toeplitz import Banded, best_banded
from hedgerow.privacy.correlated.workload import Workload

__all__ = ["Kind", "Plan", "plan", "plan_of"]

Kind = Literal["blt", "banded", "independent"]

_BANDS, _BUFFERS = 16, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run of `participation.rounds` releases that are one Gaussian mechanism together.

    Round t releases x_t + clip · sensitivity · noise_multiplier · (C⁻¹ z)_t for independent standard z: that is C⁻¹
    applied to C x + noise, so the whole run costs what one Gaussian release with `noise_multiplier` costs. The ledger
    charges it once, before the first round, with no sampling: `Gaussian(noise_multiplier=plan.noise_multiplier)`.

    Guarantee: (`epsilon`, `delta`) for whoever sees every round, also where x_t was chosen with the earlier rounds in
    view (Denisov et al., "Improved differential privacy for SGD via optimal private linear operators on adaptive
    streams", arXiv 2202.08312, theorem 2.1), for participants that keep to `participation` with contributions of norm
    at most clip. Relation: zero-out, that is adding or removing a participant with its places kept. A shorter run is
    covered; a longer one is not.

    Errors are standard deviations in each coordinate of the models, in units of clip × learning rate: `error` of this
    plan, `independent_error` of fresh noise in every round with the same guarantee and participation, `poisson_error`
    of fresh noise with secret Poisson samples at `poisson_rate`, where the caller named one.
    """

    mechanism: Banded | Blt
    participation: Participation
    workload: Workload
    epsilon: float
    delta: float
    sensitivity: float
    noise_multiplier: float
    error: Error
    independent_error: Error
    poisson_rate: float | None = None
    poisson_error: Error | None = None

    @property
    def kind(self) -> Kind:
        """What kind of memory the noise has."""
        if isinstance(self.mechanism, Blt):
            return "blt"
        return "banded" if self.mechanism.memory else "independent"

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """The first column of C, `(rounds,)`."""
        return self.mechanism.coefficients(self.participation.rounds)

    @property
    def noise_scale(self) -> float:
        """The standard deviation of the independent noise z before it is correlated, in units of clip."""
        return self.sensitivity * self.noise_multiplier

    @property
    def gain(self) -> float:
        """How many times less rms error than independent noise without amplification."""
        return self.independent_error.rms / self.error.rms

    @property
    def digest(self) -> str:
        """SHA-256 over all that decides the noise: two plans with the same digest add the same kind of noise."""
        parts = (self.mechanism, self.participation, self.epsilon, self.delta)
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def plan(
    *,
    rounds: int,
    min_separation: int,
    max_participations: int,
    epsilon: float,
    delta: float,
    kind: Kind = "blt",
    bands: int | None = None,
    buffers: int = _BUFFERS,
    objective: Objective = "mean",
    momentum: float = 0.0,
    rates: tuple[float, ...] = (),
    poisson_rate: float | None = None,
) -> Plan:
    """Choose the noise of a run of `rounds` releases with the guarantee (`epsilon`, `delta`) as a whole.

    `kind`: `"blt"` keeps `buffers` vectors and works at every separation; `"banded"` keeps `bands - 1` (16 bands
    unless said, fewer where the separation or the rounds are fewer); `"independent"` keeps none. `objective`,
    `momentum` and `rates`: what the noise is fitted to (`best_banded`, `Workload`). `poisson_rate` adds the comparison
    with independent noise on secret Poisson samples; max_participations / rounds is the rate with as many
    contributions. Where everybody takes part in every round there is nothing to gain, and the gain is 1.

    Raises: Misconfigured E103 for numbers out of range, E104 for an unknown kind or objective, E105 for bands above
    the separation where somebody takes part twice.
    Cost: about a second for 2,000 rounds; the same call again takes milliseconds.

    >>> once = plan(rounds=1000, min_separation=1, max_participations=1, epsilon=1.0, delta=1e-6)
    >>> round(once.noise_multiplier, 3), round(once.gain, 2)
    (4.225, 7.34)
    """
    participation = Participation(rounds=rounds, min_separation=min_separation, max_participations=max_participations)
    workload = Workload(rounds=rounds, momentum=momentum, rates=rates)
    if objective not in ("mean", "last"):
        raise Misconfigured("E104", f"objective {objective!r}", place="objective", hint="choose 'mean' or 'last'")
    mechanism = _mechanism(kind, participation, workload, bands, buffers, objective)
    return plan_of(mechanism, participation, workload, epsilon=epsilon, delta=delta, poisson_rate=poisson_rate)


def plan_of(
    mechanism: Banded | Blt,
    participation: Participation,
    workload: Workload,
    *,
    epsilon: float,
    delta: float,
    poisson_rate: float | None = None,
) -> Plan:
    """The plan of a mechanism that was chosen elsewhere: its sensitivity, noise and errors are worked out here.

    Raises: Misconfigured E105 if its sensitivity under `participation` is not known, E103 for numbers out of range.
    """
    if participation.rounds != workload.rounds:
        raise Misconfigured("E103", f"{participation.rounds} rounds and {workload.rounds} rounds", place="rounds")
    coefficients = mechanism.coefficients(workload.rounds)
    moved = sensitivity(coefficients, participation)
    noise = gaussian_noise(epsilon, delta)
    one = error_of(np.ones(1), workload)
    return Plan(
        mechanism=mechanism,
        participation=participation,
        workload=workload,
        epsilon=epsilon,
        delta=delta,
        sensitivity=moved,
        noise_multiplier=noise,
        error=error_of(coefficients, workload).times(moved * noise),
        independent_error=one.times(math.sqrt(participation.most) * noise),
        poisson_rate=poisson_rate,
        poisson_error=None
        if poisson_rate is None
        else one.times(_poisson_noise(poisson_rate, workload.rounds, epsilon, delta)),
    )


def _mechanism(
    kind: Kind,
    participation: Participation,
    workload: Workload,
    bands: int | None,
    buffers: int,
    objective: Objective,
) -> Banded | Blt:
    if kind == "blt":
        return best_blt(buffers, participation, workload, objective)
    if kind == "banded":
        apart = workload.rounds if participation.most == 1 else participation.min_separation
        chosen = min(_BANDS, apart, workload.rounds) if bands is None else bands
        return best_banded(chosen, participation, workload, objective)
    if kind == "independent":
        return Banded(bands=(1.0,))
    raise Misconfigured("E104", f"kind {kind!r}", place="kind", hint="choose 'blt', 'banded' or 'independent'")


def _poisson_noise(rate: float, rounds: int, epsilon: float, delta: float) -> float:
    from hedgerow.privacy import calibrate

    return float(calibrate(epsilon=epsilon, delta=delta, q=rate, steps=rounds))
