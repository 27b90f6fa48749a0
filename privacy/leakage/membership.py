"""Can someone who queries the model tell who was in its training data?

The attack is the plainest one: a record whose loss is small was probably trained on. It needs no other model, so
it is a floor, not a ceiling: stronger attacks find more.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from hedgerow.errors import Misconfigured
from hedgerow.privacy.leakage.interval import Interval, TprAt, bootstrap
from hedgerow.privacy.leakage.roc import Floats, roc
from hedgerow.task import Labels

if TYPE_CHECKING:
    import torch

    Records: TypeAlias = tuple[torch.Tensor, torch.Tensor]
    Loss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

__all__ = ["ALL_SITES", "Membership", "loss_scores", "loss_threshold", "measure"]

ALL_SITES = "all sites"


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """What one attacker with one attack learned about who was in the training data.

    `scope` is a site's name, or "all sites"; `members` and `nonmembers` are the numbers of records compared; `roc`
    holds exact vertices `(fpr, tpr)` for a plot.
    """

    adversary: str
    attack: str
    scope: str
    members: int
    nonmembers: int
    auc: Interval
    tpr: tuple[TprAt, ...]
    roc: tuple[tuple[float, float], ...]

    def to_dict(self) -> dict[str, object]:
        """The same content as plain dictionaries, lists, strings, numbers and booleans, ready for JSON."""
        return {**asdict(self), "tpr": [asdict(at) for at in self.tpr], "roc": [list(point) for point in self.roc]}


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
) -> Membership:
    """Turn an attack's scores, higher meaning more like a member, into a result with intervals.

    Non-members must come from the same population as the members and must not have been trained on: otherwise the
    figure measures how the populations differ. Raises as `bootstrap`, with the scope as the place.
    """
    try:
        spread = bootstrap(member_scores, nonmember_scores, fprs, rng=rng, confidence=confidence, resamples=resamples)
    except Misconfigured as error:
        raise Misconfigured(error.code, error.message, place=f"{scope}: {error.place}", hint=error.hint) from error
    curve = roc(member_scores, nonmember_scores)
    return Membership(
        adversary=adversary,
        attack=attack,
        scope=scope,
        members=curve.members,
        nonmembers=curve.nonmembers,
        auc=spread.auc,
        tpr=spread.tpr,
        roc=curve.points(),
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
) -> tuple[Membership, ...]:
    """Measure membership leakage of a model: all sites together first, then each site by name.

    `members` maps a site's name to its training records `(x, y)`; `nonmembers` are held-out records of the whole
    population. A site's records are compared with as many of them as have the site's own mix of labels, because a
    model that finds one label easier than another would otherwise look like a leak, or hide one. A site without
    records, or with no held-out record of its labels, gets no result. Each interval stands alone: among
    many sites one will exceed its interval by chance. Raises as `loss_scores` and `measure`.

    Source: Yeom, Giacomelli, Fredrikson and Jha 2018, Privacy Risk in Machine Learning (CSF), the attack that knows
    the error distribution, here swept over every threshold.
    """
    heldout = loss_scores(model, *nonmembers, loss)
    scored = {site: loss_scores(model, *members[site], loss) for site in sorted(members)}
    if ALL_SITES in scored:
        raise Misconfigured("E105", f"a site may not be called '{ALL_SITES}'", place="members", hint="rename it")
    scopes = {ALL_SITES: (np.concatenate([np.empty(0), *scored.values()]), heldout)}
    heldout_labels = nonmembers[1].numpy()
    for site, scores in scored.items():
        rows = same_mix(members[site][1].numpy(), heldout_labels, rng=rng)
        if len(scores) and len(rows):
            scopes[site] = (scores, heldout[rows])
    return tuple(
        measure(inside, outside, scope=scope, rng=rng, fprs=fprs, confidence=confidence, resamples=resamples)
        for scope, (inside, outside) in scopes.items()
    )


def same_mix(labels: Labels, pool: Labels, *, rng: np.random.Generator) -> Labels:
    """Rows of `pool` that have the label mix of `labels`, as many as there are, drawn without replacement.

    A label that the pool lacks is passed over. The mix is exact up to rounding down, at least one row a label.

    >>> rows = same_mix(np.array([0, 0, 1]), np.array([0, 0, 0, 0, 1, 1]), rng=np.random.default_rng(0))
    >>> np.bincount(np.array([0, 0, 0, 0, 1, 1])[rows]).tolist()
    [4, 2]
    """
    wanted, counts = np.unique(labels, return_counts=True)
    held = {int(label): np.flatnonzero(pool == label) for label in wanted}
    shares = {label: count for label, count in zip(held, counts, strict=True) if len(held[label])}
    if not shares:
        return np.empty(0, np.int64)
    scale = min(len(held[label]) / share for label, share in shares.items())
    rows = [rng.permutation(held[label])[: max(1, int(scale * share + 1e-9))] for label, share in shares.items()]
    return np.sort(np.concatenate(rows))


def loss_scores(
    model: "torch.nn.Module", x: "torch.Tensor", y: "torch.Tensor", loss: "Loss", batch: int = 4096
) -> Floats:
    """The negated loss of every record, shape `(n,)`: higher means more like a member.

    The model is put in evaluation mode and left as it was found: every module's mode is restored, no gradient is
    kept, no running statistic moves. Records are moved to the model's device in batches.

    Raises: Misconfigured E126 if `x` and `y` differ in length, E102 if `loss(logits, targets)` does not return one
    value per record, E103 if `batch` is not positive.
    """
    import torch

    if len(x) != len(y):
        raise Misconfigured("E126", f"{len(x)} records but {len(y)} labels", place="loss_scores")
    if batch < 1:
        raise Misconfigured("E103", f"batch {batch} is not positive", place="loss_scores")
    parameter = next(model.parameters(), None)
    device = x.device if parameter is None else parameter.device
    scores = np.empty(len(x), dtype=np.float64)
    with _evaluating(model), torch.no_grad():
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


@contextmanager
def _evaluating(model: "torch.nn.Module") -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:  # one by one: a user may have frozen a single layer
            module.training = training
