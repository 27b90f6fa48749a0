"""A norm bound with noise: no site moves the model far, and small pushes drown."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hedgerow.aggregation.arrays.passes import draws, lengths, noisy_sum
from hedgerow.aggregation.given import Given, View, Want
from hedgerow.aggregation.promises import Promise
from hedgerow.aggregation.rule import Defence, Opinion
from hedgerow.aggregation.steps.clipping import clip_factors
from hedgerow.errors import Misconfigured

__all__ = ["NormBound"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NormBound(Defence):
    """The mean of the rows, each shortened to at most `tau`, plus Gaussian noise of `noise_multiplier * tau / n`.

    Sensitivity: replacing one row by zero moves the mean by at most `tau / n`, replacing it by any other row by at
    most `2 tau / n`, in Euclidean length, for a fixed `n`. The noise has standard deviation `noise_multiplier` times
    the first of these in each coordinate: the Gaussian mechanism at site level, whose accountant must know `tau`,
    `noise_multiplier` and how sites are drawn. With weights, `1 / n` becomes the largest weight.
    This rule claims no ε: it draws from the round's `rng`, which in a simulation is seeded, and it counts the rows
    that happen to be present.
    `f` is optional: it bounds how many unusable rows may be left out, otherwise anything short of half.

    Verdict: the score is the length in units of `tau` before shortening; nobody is excluded.
    Assumption: honest rows are mostly shorter than `tau`. κ: none proven. Breakdown: none in the sense of an unbounded
    pull, f rows move the mean by at most 2 f tau / n; but they move it so far in every round.
    Fails against many attackers, against a slow poison that stays within `tau`, and where `tau` or the noise is so
    large or so small that honest rows are lost. Cost: O(nd), two passes.
    Source: Sun et al., 2019, arXiv:1911.07963, section 4 (norm thresholding, weak differential privacy).

    Raises:
        Misconfigured: E103 if `tau` is not positive and finite, or `noise_multiplier` is negative or not finite;
            E105 without a generator, when the rule is used and `noise_multiplier` is positive.
    """

    weighted: ClassVar[bool] = True
    least_share: ClassVar[float] = -1.0  # a row of weight 0 has no say, but nobody is excluded

    tau: float
    noise_multiplier: float = 0.0
    f: int | float | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.tau) and self.tau > 0):
            raise Misconfigured("E103", f"tau must be positive and finite, not {self.tau}")
        if not (np.isfinite(self.noise_multiplier) and self.noise_multiplier >= 0):
            raise Misconfigured("E103", f"noise_multiplier must be at least 0 and finite, not {self.noise_multiplier}")

    @property
    def promises(self) -> frozenset[Promise]:
        return frozenset({Promise.ORDER})

    @property
    def wants(self) -> frozenset[Want]:
        return frozenset({"rng"}) if self.noise_multiplier > 0 else frozenset()

    def needs(self, f: int) -> int:
        return f + 1

    def judge(self, view: View, given: Given) -> Opinion:
        n = view.shape[0]
        shares = np.full(n, 1.0 / n) if given.weights is None else given.weights
        norms = lengths(view)
        weights = shares * clip_factors(norms, self.tau)
        if self.noise_multiplier == 0:
            return Opinion(weights, norms / self.tau)
        deviation = self.noise_multiplier * self.tau * float(shares.max())
        vector = noisy_sum(view, weights, deviation=deviation, rng=draws(given, "NormBound"))
        return Opinion(weights, norms / self.tau, vector)
