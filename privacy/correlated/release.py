"""One private round of a training loop with correlated noise: at the server for sites, at a site for records.

Who draws the noise keeps the stream's secret state. For sites that is the server, which adds it up and sees every
update: the guarantee is against whoever sees the models, and holds only where the server is trusted. For records it is
the site, and no server needs to be trusted; a site's stream serves that site's records alone.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hedgerow.errors import Misconfigured, Rejected
from hedgerow.privacy.correlated.attendance import Attendance
from hedgerow.privacy.correlated.stream import NoiseStream

__all__ = ["record_level_release", "site_level_release"]


def site_level_release(
    stream: NoiseStream,
    updates: NDArray[np.floating],
    sites: Sequence[int],
    attendance: Attendance,
    *,
    denominator: float,
) -> tuple[NDArray[np.float64], Attendance]:
    """A round's noisy mean of the sites' updates, `(d,)`, and the attendance after it. For a trusted server.

    `updates` is `(k, d)`, row i from site `sites[i]`; no row at all is a round of noise. Each row is cut to the
    stream's clip; one whose norm is not finite counts as nothing, and as taken part. All weigh the same, and
    `denominator` is a constant of the job, never how many answered. Keep attendance and stream state together.
    Raises: Refused E201, before anything is drawn, for a site that may not take part in this round or a plan that is
    used up; Rejected E301 for updates of another size; Misconfigured E103 for a denominator that is not positive, E105
    for an attendance under another participation than the plan's.
    """
    if attendance.participation != stream.plan.participation:
        raise Misconfigured("E105", "the attendance and the plan state different participations", place="attendance")
    rows = np.asarray(updates, np.float64)
    if rows.shape != (len(sites), stream.dimension):
        raise Rejected("E301", f"updates of shape {rows.shape}, expected ({len(sites)}, {stream.dimension})")
    _check_denominator(denominator)
    after = attendance.after(stream.released + 1, sites)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is weighed with 0 below
        norms = np.linalg.norm(rows, axis=1)
        weights = np.where(np.isfinite(norms), stream.clip / np.maximum(norms, stream.clip), 0.0)
    total = weights @ np.where(weights[:, None] > 0.0, rows, 0.0)
    return (total + stream.next()) / denominator, after


def record_level_release(
    stream: NoiseStream, clipped_sum: NDArray[np.floating], *, records: int, batches: int
) -> NDArray[np.float64]:
    """A step's noisy mean gradient at a site, `(d,)`, for batches that come round in a fixed order.

    `clipped_sum`, `(d,)`, is the sum of the gradients of `cyclic_batch(records=…, batches=…, round=stream.released +
    1)`, each of norm at most the stream's clip and zero where it was not finite. The denominator is records / batches,
    the same in every step, whatever the batch's real size; the number of records is taken to be public.
    Raises: Misconfigured E105 if the plan does not cover that order, E103 for more batches than records; Rejected E301
    and E303 for a sum of another size or one that is not finite; Refused E201 when the plan is used up.
    """
    promised = stream.plan.participation
    if not 1 <= batches <= records:
        raise Misconfigured("E103", f"batches={batches!r}, expected 1 … {records}", place="batches")
    times = 1 + (promised.rounds - 1) // batches
    if times > 1 and (batches < promised.min_separation or times > promised.max_participations):
        raise Misconfigured(
            "E105",
            f"{batches} batches bring a record back after {batches} steps, {times} times in all; the plan is for "
            f"{promised.max_participations} times, {promised.min_separation} steps apart",
            place="batches",
            hint=f"plan min_separation={batches}, max_participations={times}",
        )
    total = np.asarray(clipped_sum, np.float64)
    if total.shape != (stream.dimension,):
        raise Rejected("E301", f"a sum of shape {total.shape}, expected ({stream.dimension},)")
    if not np.isfinite(total).all():
        raise Rejected("E303", "the sum of clipped gradients is not finite", hint="leave out what is not finite")
    return (total + stream.next()) * (batches / records)


def _check_denominator(denominator: float) -> None:
    if not 0.0 < denominator < np.inf:
        raise Misconfigured("E103", f"denominator={denominator!r}, expected a positive number", place="denominator")
