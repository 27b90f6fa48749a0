"""FLTrust: the server trains a little itself, and trusts what points its own way."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.given import Given, View, Want
from hedgerow.aggregation.promises import Promise
from hedgerow.aggregation.rule import Defence, Opinion
from hedgerow.errors import Misconfigured

__all__ = ["FLTrust", "trust_weights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FLTrust(Defence):
    """Trusts each row by its cosine with the server's own update (`reference`), never less than 0; all rows are
    brought to the length of that update first.

    The reference is made from a small clean set of records at the server, trained like a site's, each round anew.
    Where nobody is trusted, the vector is zero: the model stays as it is. Weights multiply the trust.
    `f` is optional: it bounds how many unusable rows may be left out, otherwise all but one.

    Verdict: the score is one minus the cosine, 0 to 2; rows with a cosine of 0 or less, and zero rows, are excluded.
    Weights can sum to more than 1, since short rows are lengthened.
    Assumption: the server's records look like the sites'. κ: none proven. Breakdown: none by number, even n - 1
    hostile rows turn the vector by less than a right angle from the reference.
    Fails when the server's records are biased (sites whose data differ from them lose their say), and against rows
    crafted inside the half-space of the reference. Cost: O(nd), and the server's training.
    Source: Cao et al., NDSS 2021, arXiv:2012.13995, section IV, Algorithm 2.

    Raises:
        Misconfigured: E105 without a reference, E103 for one that is zero or not finite, when the rule is used.
    """

    reason: ClassVar[str] = "does not point the way of the server's own update"
    weighted: ClassVar[bool] = True

    f: int | float | None = None

    @property
    def promises(self) -> frozenset[Promise]:
        return frozenset({Promise.ORDER})

    @property
    def wants(self) -> frozenset[Want]:
        return frozenset({"reference"})

    def needs(self, f: int) -> int:
        return f + 1

    def tolerates(self, n: int) -> int:
        return n - 1

    def judge(self, view: View, given: Given) -> Opinion:
        if given.reference is None:
            raise Misconfigured(
                "E105", "FLTrust compares with the server's own update and was given none", hint="pass reference="
            )
        reference = np.asarray(given.reference, np.float64)
        length = float(np.linalg.norm(reference))
        if not (np.isfinite(length) and length > 0):
            raise Misconfigured("E103", "the server's own update is zero or not finite, so it points nowhere")
        products, squares = np.zeros(view.shape[0]), np.zeros(view.shape[0])
        for block, rows in view.blocks():
            wide = rows.astype(np.float64)
            products += wide @ (reference[block] / length)
            squares += np.vecdot(wide, wide)
        norms = np.sqrt(squares)
        cosines = np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0)
        return Opinion(trust_weights(cosines, norms, length, given.weights), 1.0 - np.clip(cosines, -1.0, 1.0))


def trust_weights(cosines: Floats, norms: Floats, length: float, shares: Floats | None = None) -> Floats:
    """Weights `(n,)`: each row's part of the trust, times what brings it to `length`. All zero if nobody is trusted.

    >>> trust_weights(np.array([0.5, 0.25, -1.0]), np.array([2.0, 1.0, 1.0]), 2.0).round(6).tolist()
    [0.666667, 0.666667, 0.0]
    """
    trust = np.clip(cosines, 0.0, 1.0) * (1.0 if shares is None else shares)
    if not trust.any():
        return np.zeros(len(trust))
    factors = np.divide(length, norms, out=np.zeros(len(trust)), where=norms > 0)
    weights: Floats = trust / trust.sum() * factors
    return weights
