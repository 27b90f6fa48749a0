"""What an audit of a job's mechanism says: part by part, with how large an error each part would have caught."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from hedgerow.privacy.conformance import Finding

__all__ = ["Audit", "Part", "noise_caught", "rate_caught"]

POWER = 0.99
LEVEL = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One mechanism, as it was run: its `path`, the `source` of its randomness, how many `releases` of how many
    `numbers` each were tested, and the `findings`.

    `catches` says in words what errors this much would show, `unseen` what it does not show.
    """

    title: str
    path: str
    source: str
    releases: int
    numbers: int
    findings: tuple[Finding, ...]
    catches: tuple[str, ...]
    unseen: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return all(finding.passed for finding in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """All parts of a job's audit."""

    parts: tuple[Part, ...]

    @property
    def failed(self) -> tuple[tuple[Part, Finding], ...]:
        """What did not pass."""
        return tuple((part, finding) for part in self.parts for finding in part.findings if not finding.passed)


def noise_caught(numbers: int, checks: int, level: float = LEVEL) -> float:
    """The smallest share by which Gaussian noise can be off and still be caught with 99 % power; at most 1.

    `checks` share the level. The logarithm of a standard deviation that is measured on N numbers has a standard error
    of 1 / sqrt(2 N).

    >>> round(noise_caught(9000, 1), 3)
    0.041
    """
    normal = NormalDist()
    errors = normal.inv_cdf(1 - level / checks / 2) + normal.inv_cdf(POWER)
    return min(1.0, -math.expm1(-errors / math.sqrt(2 * numbers)))


def rate_caught(draws: int, rate: float, checks: int, level: float = LEVEL) -> float:
    """The same for a sampling rate, by Chernoff's bound on so many draws.

    >>> round(rate_caught(100_000, 0.2, 1), 3)
    0.039
    """
    errors = math.sqrt(2 * math.log(2 * checks / level)) + NormalDist().inv_cdf(POWER)
    return min(1.0, errors * math.sqrt((1 - rate) / rate / draws))
