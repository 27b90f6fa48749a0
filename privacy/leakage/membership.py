"""Can someone who queries the model tell who was in its training data?

The attack is the plainest one: a record whose loss is small was probably trained on. It needs no other model, so
it is a floor, not a ceiling: stronger attacks find more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import TYPE_CHECKING, TypeAlias, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from hedgerow.errors import Misconfigured
from hedgerow.modes import in_mode
from hedgerow.privacy.leakage.interval import FEW, Interval, TprAt, spread_of
from hedgerow.privacy.leakage.roc import Floats, curve_of, tally
from hedgerow.task import Labels

if TYPE_CHECKING:
    import torch

    Records: TypeAlias = tuple[torch.Tensor, torch.Tensor]
    Loss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

__all__ = ["ALL_SITES", "Membership", "loss_scores", "loss_threshold", "measure"]

ALL_SITES = "all sites"
MOST_SITES = 200  # measured by name: a second or two, and no page shows more
SITE_POINTS = 40  # of a single site's curve
SITE_RESAMPLES = 400  # a quantile of so many is known to an eighth of a standard deviation, enough to describe a site
BATCH = 4096  # records that go through the model at once


class _Asked(TypedDict):
    """What is asked of every scope."""

    fprs: Sequence[float]
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """What one attacker with one attack learned about who was in the training data.

    `scope` is a site's name, or "all sites"; `members` and `nonmembers` are the numbers of records compared; `roc`
    holds exact vertices `(fpr, tpr)` for a plot; `note` says what was not measured, or is empty.
    """

    adversary: str
    attack: str
    scope: str
    members: int
    nonmembers: int
    auc: Interval
    tpr: tuple[TprAt, ...]
    roc: tuple[tuple[float, float], ...]
    note: str = ""

    def to_dict(self) -> dict[str, object]:
        """The same content as plain dictionaries, lists, strings, numbers and booleans, ready for JSON."""
        plain: dict[str, object] = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["auc"], plain["tpr"] = asdict(self.auc), [asdict(at) for at in self.tpr]
        plain["roc"] = [list(point) for point in self.roc]
        return plain


def measure(
    member_scores: ArrayLike,
    nonmember_scores: ArrayLike,
    *,
    scope: str,
    rng: np.random.Generator,
    fprs: Sequence[float] = (0.01,),
    confidence: float = 0.95,
    resamples: int = 1000,
    adversary: str = "queries the final model",
    attack: str = "loss threshold",
    points: int = 200,
    note: str = "",
) -> Membership:
    """Turn an attack's scores, higher meaning more like a member, into a result with intervals.

    Non-members must come from the same population as the members and must not have been trained on: otherwise the
    figure measures how the populations differ. `points` is the most vertices of the curve that are kept. Raises as
    `bootstrap`, with the scope as the place.
    """
    try:
        ranks = tally(member_scores, nonmember_scores)
        curve = curve_of(ranks)
        spread = spread_of(ranks, curve, fprs, rng=rng, confidence=confidence, resamples=resamples)
    except Misconfigured as error:
        raise Misconfigured(error.code, error.message, place=f"{scope}: {error.place}", hint=error.hint) from error
    return Membership(
        adversary=adversary,
        attack=attack,
        scope=scope,
        members=curve.members,
        nonmembers=curve.nonmembers,
        auc=spread.auc,
        tpr=spread.tpr,
        roc=curve.points(points),
        note=note,
    )


def loss_threshold(
    model: "torch.nn.Module",
    members: "Mapping[str, Records]",
    nonmembers: "Records",
    *,
    loss: "Loss",
    rng: np.random.Generator,
    fprs: Sequence[float] = (0.01,),
    confidence: float = 0.95,
    resamples: int = 1000,
    most: int = MOST_SITES,
) -> tuple[Membership, ...]:
    """Measure membership leakage of a model: all sites together first, then each site by name.

    `members` maps a site's name to its training records `(x, y)`; `nonmembers` are held-out records of the whole
    population. A site's records are compared with as many of them as have the site's own mix of labels, because a
    model that finds one label easier than another would otherwise look like a leak, or hide one. A site without
    records, or with no held-out record of its labels, gets no result. Each interval stands alone: among
    many sites one will exceed its interval by chance. A site's figures do not depend on the other sites; they come
    from at most 400 resamples, and their curves have at most 40 vertices.

    Of more than `most` sites, those with most records are measured by name, none with fewer than 10, of which no
    interval says anything; the note of the first result then says so. All sites together are always everybody.
    Raises as `loss_scores` and `measure`.

    Source: Yeom, Giacomelli, Fredrikson and Jha 2018, Privacy Risk in Machine Learning (CSF), the attack that knows
    the error distribution, here swept over every threshold.
    """
    if ALL_SITES in members:
        raise Misconfigured("E105", f"a site may not be called '{ALL_SITES}'", place="members", hint="rename it")
    root = rng.integers(2**32, size=4, dtype=np.uint32).tolist()
    heldout = loss_scores(model, *nonmembers, loss)
    scored = _scores_by_site(model, members, loss)
    chosen = _worth_measuring({site: len(scores) for site, scores in scored.items()}, most)
    asked: _Asked = {"fprs": fprs, "confidence": confidence}
    few = min(resamples, SITE_RESAMPLES)
    everybody = np.concatenate([np.empty(0), *scored.values()])
    note = ""
    if len(scored) > most:
        note = f"{len(chosen)} of {len(scored)} sites are measured by name: those with most records, at least {FEW}."
    results = [measure(everybody, heldout, scope=ALL_SITES, rng=rng, note=note, resamples=resamples, **asked)]
    rows_of = _rows_by_label(nonmembers[1].numpy())
    for site in chosen:
        own = np.random.default_rng([*root, *sha256(site.encode()).digest()])
        rows = _mix(members[site][1].numpy(), rows_of, own)
        if len(rows):
            outside = heldout[rows]
            results.append(
                measure(scored[site], outside, scope=site, rng=own, resamples=few, points=SITE_POINTS, **asked)
            )
    return tuple(results)


def _worth_measuring(records: Mapping[str, int], most: int) -> list[str]:
    """The sites to measure by name, in the order of their names."""
    if len(records) <= most:
        return sorted(site for site, count in records.items() if count)
    enough = [site for site, count in records.items() if count >= FEW]
    return sorted(sorted(enough, key=lambda site: (-records[site], site))[:most])


def _scores_by_site(model: "torch.nn.Module", members: "Mapping[str, Records]", loss: "Loss") -> dict[str, Floats]:
    """Each site's scores, in the order of the names. Small sites go through the model together."""
    import torch

    found: dict[str, Floats] = {}
    waiting: list[str] = []

    def score() -> None:
        if not waiting:
            return
        parts = [members[site] for site in waiting]
        x, y = parts[0] if len(parts) == 1 else (torch.cat([part[side] for part in parts]) for side in (0, 1))
        ends = np.cumsum([len(part[1]) for part in parts])
        found.update(zip(waiting, np.split(loss_scores(model, x, y, loss), ends[:-1]), strict=True))
        waiting.clear()

    records, kind = 0, None
    for site in sorted(members):
        x, y = members[site]
        _must_match(x, y)
        own = (x.shape[1:], x.dtype, y.shape[1:], y.dtype)
        if records + len(x) > BATCH or own != kind:
            score()
            records, kind = 0, own
        waiting.append(site)
        records += len(x)
    score()
    return found


def same_mix(labels: Labels, pool: Labels, *, rng: np.random.Generator) -> Labels:
    """Rows of `pool` that have the label mix of `labels`, as many as there are, drawn without replacement.

    A label that the pool lacks is passed over. The mix is exact up to rounding down, at least one row a label.

    >>> rows = same_mix(np.array([0, 0, 1]), np.array([0, 0, 0, 0, 1, 1]), rng=np.random.default_rng(0))
    >>> np.bincount(np.array([0, 0, 0, 0, 1, 1])[rows]).tolist()
    [4, 2]
    """
    return _mix(labels, _rows_by_label(pool), rng)


def _rows_by_label(pool: Labels) -> dict[int, Labels]:
    return {int(label): np.flatnonzero(pool == label) for label in np.unique(pool)}


def _mix(labels: Labels, held: Mapping[int, Labels], rng: np.random.Generator) -> Labels:
    wanted, counts = np.unique(labels, return_counts=True)
    shares = {label: count for label, count in zip(wanted.tolist(), counts.tolist(), strict=True) if label in held}
    if not shares:
        return np.empty(0, np.int64)
    scale = min(len(held[label]) / share for label, share in shares.items())
    rows = [rng.permutation(held[label])[: max(1, int(scale * share + 1e-9))] for label, share in shares.items()]
    return np.sort(np.concatenate(rows))


def loss_scores(
    model: "torch.nn.Module", x: "torch.Tensor", y: "torch.Tensor", loss: "Loss", batch: int = BATCH
) -> Floats:
    """The negated loss of every record, shape `(n,)`: higher means more like a member.

    The model is put in evaluation mode and left as it was found: every module's mode is restored, no gradient is
    kept, no running statistic moves. Records are moved to the model's device in batches.

    Raises: Misconfigured E126 if `x` and `y` differ in length, E102 if `loss(logits, targets)` does not return one
    value per record, E103 if `batch` is not positive.
    """
    import torch

    _must_match(x, y)
    if batch < 1:
        raise Misconfigured("E103", f"batch {batch} is not positive", place="loss_scores")
    parameter = next(model.parameters(), None)
    device = x.device if parameter is None else parameter.device
    scores = np.empty(len(x), dtype=np.float64)
    with in_mode(model, training=False), torch.no_grad():
        for start in range(0, len(x), batch):
            inputs, targets = x[start : start + batch].to(device), y[start : start + batch].to(device)
            losses = loss(model(inputs), targets)
            if losses.shape != (len(inputs),):
                raise Misconfigured(
                    "E102",
                    f"the loss returned shape {tuple(losses.shape)} for {len(inputs)} records",
                    place="loss_scores",
                    hint="return one value per record, for example with reduction='none'",
                )
            scores[start : start + batch] = -losses.double().cpu().numpy()
    return scores


def _must_match(x: "torch.Tensor", y: "torch.Tensor") -> None:
    if len(x) != len(y):
        raise Misconfigured("E126", f"{len(x)} records but {len(y)} labels", place="loss_scores")
