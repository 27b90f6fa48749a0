"""FoolsGold: sites that keep sending the same thing are taken for one."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.gram import measure
from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.defences.cosine import cosines
from hedgerow.aggregation.defences.site_memory import as_state, remembered
from hedgerow.aggregation.given import Given, View, Want
from hedgerow.aggregation.promises import DISTANCES, Promise
from hedgerow.aggregation.rule import Defence, Opinion
from hedgerow.errors import Misconfigured

__all__ = ["HISTORY", "FoolsGold", "sybil_weights"]

HISTORY = "history"
_LARGEST = 1e140  # sums of absurd rows stay numbers whose squares can be added


@dataclass(frozen=True, slots=True, kw_only=True)
class FoolsGold(Defence):
    """Weighs each row by how unlike the sum of its site's updates so far is to every other site's sum.

    Honest sites with different data drift apart over rounds; copies of one attacker stay together and lose their
    weight. A site that is absent keeps its history, and is compared with too, so that copies cannot take turns. After
    100 rounds without it, it is forgotten: so the memory is bounded, and a site asked less often counts as new.
    Where all present rows look like copies, the vector is zero: the model stays as it is.
    `f` is optional: it bounds how many unusable rows may be left out, otherwise anything short of half.

    Verdict: the score is one minus the row's weight before it is scaled to sum to 1; rows of weight 0 are excluded.
    Assumption: hostile sites act together and honest sites have different data. κ: none proven. Breakdown: one
    hostile site that acts alone, of any strength: bound lengths in front (`ClipNorms() | FoolsGold()`).
    Fails when honest sites have alike data (they are punished, equal rows get no weight at all), against a single
    attacker, against copies that add enough noise to differ, and against those that take new names.
    Cost: O(k²d) for the `k` sites of the last 100 rounds. State: their sums, `k` rows of length d, and their names.
    Source: Fung et al., RAID 2020, arXiv:1808.04866, section 4, Algorithm 1 (all coordinates, none weighted;
    negative cosines count as 0, and the weights are scaled to sum to 1).

    Raises:
        Misconfigured: E105 without `sites`, or for a state with rows of another length, when the rule is used.
    """

    reason: ClassVar[str] = "always alike to another site"

    f: int | float | None = None

    @property
    def promises(self) -> frozenset[Promise]:
        return DISTANCES - {Promise.SHIFT, Promise.SAFE}

    @property
    def wants(self) -> frozenset[Want]:
        return frozenset({"sites"})

    def needs(self, f: int) -> int:
        return f + 1

    def judge(self, view: View, given: Given) -> Opinion:
        names, kept, place, away = remembered(given.state, given.sites, "FoolsGold")
        before = given.state[HISTORY][kept] if HISTORY in given.state else None
        history = _with(view, before, place, len(names))
        alone = sybil_weights(cosines(measure(history)))[place]
        total = alone.sum()
        weights = alone / total if total > 0 else alone
        return Opinion(weights, 1.0 - alone, state={**as_state(names, away), HISTORY: history})


def sybil_weights(cosines: Floats) -> Floats:
    """How much say `(k,)` in [0, 1] each site has, given the cosines `(k, k)` of the sums of its updates.

    A site less alike to others than its nearest is pardoned in proportion. The least alike one is scaled to 1, and a
    logit pushes the rest towards 0 or 1.

    >>> sybil_weights(np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])).round(6).tolist()
    [0.0, 0.0, 1.0]
    """
    k = len(cosines)
    alike = np.maximum(cosines, 0.0)
    np.fill_diagonal(alike, 0.0)
    nearest = alike.max(axis=1)
    pardon = np.ones((k, k))
    np.divide(nearest[:, None], nearest, out=pardon, where=nearest > nearest[:, None])
    alone = np.clip(1.0 - (alike * pardon).max(axis=1), 0.0, 1.0)
    if alone.max() <= 1e-9:  # all are copies of one another, up to rounding
        return np.zeros(k)
    alone /= alone.max()
    with np.errstate(divide="ignore"):
        logit = np.log(alone) - np.log1p(-alone) + 0.5
    weights: Floats = np.clip(logit, 0.0, 1.0)
    return weights


def _with(
    view: View, before: npt.NDArray[np.generic] | None, place: npt.NDArray[np.intp], k: int
) -> npt.NDArray[np.floating]:
    """The sums `(k, d)` of each site's rows, with those of this round."""
    d = view.shape[1]
    if before is not None and before.shape[1] != d:
        raise Misconfigured("E105", f"FoolsGold's history is of {before.shape[1]} numbers, the rows are of {d}")
    history: npt.NDArray[np.floating] | None = None
    for block, rows in view.blocks():
        if history is None:
            history = np.zeros((k, d), rows.dtype)
            limit = min(_LARGEST, float(np.finfo(rows.dtype).max))
        sums = np.zeros((k, block.stop - block.start))
        if before is not None:
            sums[: len(before)] = before[:, block]
        sums[place] += rows
        history[:, block] = np.clip(sums, -limit, limit)
    assert history is not None, "rows have columns"
    return history
