"""Admission: which replies of a round may be counted at all, before any rule looks at them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hedgerow.aggregation.arrays.rows import row_norms
from hedgerow.errors import CODES
from hedgerow.update import Vector
from hedgerow.wire import Failure, Reply

__all__ = ["Admitted", "Rejection", "admit", "admit_rows"]

LONGEST = float(np.finfo(np.float32).max)  # a longer row makes every rule stop, so one site could void every round


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A site whose update did not count in a round, with the stable code and a constant-text reason."""

    site: str
    code: str
    reason: str

    @classmethod
    def of(cls, site: str, failure: Failure) -> "Rejection":
        return cls(site=site, code=failure.code, reason=failure.reason)

    def record(self) -> dict[str, str]:
        return {"site": self.site, "code": self.code, "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Admitted:
    """The usable updates as rows: `rows` (n, d) float32 and their Euclidean `norms` (n,).

    `sites` are their names and `replies` what else they said, in the same order: by site name and then by sender.
    """

    rows: np.ndarray
    norms: np.ndarray
    sites: tuple[str, ...]
    replies: tuple[Reply, ...]
    rejections: tuple[Rejection, ...]


def admit(replies: Iterable[Reply], *, asked: Mapping[int, str], size: int) -> Admitted:
    """Sort replies into rows that may be aggregated and rejections.

    A reply counts once, only from a node that was asked, only whole: shape (`size`,), float32, finite, and of a length
    that float32 can hold. `asked` maps each node to the name it is known by; those who did not answer are listed as
    silent (E309). Of two nodes under one name, the one that is known by it counts. The order of rows does not depend
    on the order of arrival, so the same replies give the same bytes.
    """
    arrived = list(replies)
    times = Counter(reply.sender for reply in arrived)

    def place(reply: Reply) -> tuple[str, bool, int, bytes]:
        repeated = reply.update is not None and times[reply.sender] > 1
        tie = _vector(reply).tobytes() if repeated else b""
        return reply.site, asked.get(reply.sender) != reply.site, reply.sender, tie

    usable: list[Reply] = []
    rejections: list[Rejection] = []
    waiting = set(asked)
    names: dict[str, int] = {}
    for reply in sorted(arrived, key=place):
        failure = _problem(reply, waiting, size)
        waiting.discard(reply.sender)
        if failure is None and names.setdefault(reply.site, reply.sender) != reply.sender:
            failure = Failure("E306", "another node already answered under this site's name")
        if failure is not None:
            rejections.append(Rejection.of(reply.site, failure))
        else:
            usable.append(reply)
    silent = Failure("E309", CODES["E309"])
    rejections += [Rejection.of(asked[node], silent) for node in sorted(waiting)]
    rows = np.stack([_vector(reply) for reply in usable]) if usable else np.empty((0, size), np.float32)
    return _admitted(rows, row_norms(rows), usable, rejections)


def admit_rows(rows: np.ndarray, replies: Sequence[Reply], rejections: Sequence[Rejection] = ()) -> Admitted:
    """As `admit`, for updates that are rows (n, d) float32 already and come from sites that were asked.

    `replies` belong to the rows, in the order of the sites' names, and need not repeat them; `rejections` are the sites
    that gave no row.
    """
    norms = row_norms(rows)
    usable = norms <= LONGEST  # false for NaN, too
    late = [
        Rejection(site=replies[row].site, code="E303", reason=_too_long(norms[row]))
        for row in np.flatnonzero(~usable).tolist()
    ]
    if late:
        replies = [reply for reply, good in zip(replies, usable, strict=True) if good]
        rows, norms = rows[usable], norms[usable]
    ordered = sorted([*rejections, *late], key=lambda rejection: rejection.site)
    return _admitted(rows, norms, replies, ordered)


def _admitted(
    rows: np.ndarray, norms: np.ndarray, replies: Sequence[Reply], rejections: Sequence[Rejection]
) -> Admitted:
    return Admitted(
        rows=rows,
        norms=norms,
        sites=tuple(reply.site for reply in replies),
        replies=tuple(replies),
        rejections=tuple(rejections),
    )


def _problem(reply: Reply, waiting: set[int], size: int) -> Failure | None:
    if reply.sender not in waiting:
        return Failure("E306", "the sender was not asked, or answered twice")
    if reply.failure is not None:
        return reply.failure
    if reply.update is None:
        return Failure("E305", CODES["E305"])
    if reply.update.shape != (size,):
        return Failure("E301", f"the update has shape {reply.update.shape}, not ({size},)")
    if reply.update.dtype != np.float32:
        return Failure("E302", f"the update is {reply.update.dtype}, not float32")
    norm = float(row_norms(reply.update[None])[0])
    return None if norm <= LONGEST else Failure("E303", _too_long(norm))


def _too_long(norm: float) -> str:
    return "the update is too long to be added up in float32" if np.isfinite(norm) else CODES["E303"]


def _vector(reply: Reply) -> Vector:
    assert reply.update is not None
    return reply.update
