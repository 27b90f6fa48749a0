"""Test a running mechanism by what it releases, without looking at its code."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hedgerow.errors import Rejected
from hedgerow.privacy.conformance.finding import Finding
from hedgerow.privacy.conformance.independence import aligned, shifted
from hedgerow.privacy.conformance.noise import Claim
from hedgerow.privacy.conformance.participation import batch_mean, batch_spread
from hedgerow.privacy.conformance.shape import shape
from hedgerow.privacy.conformance.size import block_sizes, denominator_trend, release_sizes, total_size

__all__ = ["Batches", "conformance"]

Outcome = tuple[float, float]

_CLIP_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """The sizes of batches, each of which took every one of `records` with probability `rate`."""

    sizes: NDArray[np.int64]
    records: int
    rate: float


def conformance(
    released: ArrayLike,
    *,
    claim: Claim,
    participants: ArrayLike | None = None,
    batches: Batches | None = None,
    lengths: ArrayLike | None = None,
    clip: float | None = None,
    level: float = 1e-3,
) -> tuple[Finding, ...]:
    """Check k releases of d numbers, `(k, d)`, made where there was nothing to hide, against what is claimed of them.

    Releases are the noise itself: of updates that are zero, or with the known sum taken off. Rows can come from rounds,
    from clients and from restarts; of several, give all at once, so that reuse between them shows. With `participants`
    (a number per row) the denominator is checked, with `batches` the sampling, with `lengths` and `clip` the clip of
    vectors as sent.

    Guarantee: a mechanism that does what it claims fails any of the checks with probability at most `level` in all
    (Bonferroni): exactly or less for Gaussian noise, nearly for integer noise of a variance of 1 or more.
    Raises: Rejected E301, E303 for releases that are not a finite matrix; Misconfigured E103 for impossible counts.

    >>> from hedgerow.privacy.conformance import gaussian_noise
    >>> noise = np.random.default_rng(7).normal(0, 2, (3, 3000))
    >>> all(finding.passed for finding in conformance(noise, claim=gaussian_noise(2.0)))
    True
    >>> [finding.name for finding in conformance(noise, claim=gaussian_noise(2.2)) if not finding.passed]
    ['noise size', 'noise size by release', 'noise shape']
    """
    rows = np.asarray(released, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise Rejected("E301", f"releases of shape {rows.shape}, expected (k, d)")
    if not np.isfinite(rows).all():
        raise Rejected("E303", "a release has a NaN or an infinity")
    checks: list[tuple[str, Outcome, str]] = [
        ("noise size", total_size(rows, claim), "the noise is {:.4f} times as large as claimed"),
        ("noise size by release", release_sizes(rows, claim), "the release farthest off has {:.4f} times the noise"),
        ("noise size by coordinates", block_sizes(rows, claim), "the coordinates farthest off have {:.4f} times"),
        ("noise shape", shape(rows, claim), "the distribution is at most {:.5f} away from the claimed one"),
        ("reuse inside a release", shifted(rows), "numbers a fixed distance apart correlate by at most {:.5f}"),
    ]
    if len(rows) > 1:
        checks.append(("reuse between releases", aligned(rows), "two releases correlate by at most {:.5f}"))
    if participants is not None:
        trend = denominator_trend(rows, np.asarray(participants), claim)
        checks.append(("constant denominator", trend, "the noise goes with the number present to the power {:.3f}"))
    if batches is not None:
        known = (np.asarray(batches.sizes, np.int64), batches.records, batches.rate)
        checks.append(("sampling rate", batch_mean(*known), "the rate is {:.4f} times the claimed one"))
        checks.append(
            ("batch sizes", batch_spread(*known), "they vary {:.3f} times as much as independent draws would")
        )
    if lengths is not None and clip is not None:
        longest = float(np.max(np.asarray(lengths, np.float64), initial=0.0)) / clip
        within = 1.0 if longest <= 1 + _CLIP_TOLERANCE else 0.0  # 0.0 for a NaN as well
        checks.append(("clip", (longest, within), "the longest vector has {:.6f} times the clip's length"))
    return tuple(
        Finding(name=name, statistic=value, p=p, passed=p > level / len(checks), meaning=text.format(value))
        for name, (value, p), text in checks
    )
