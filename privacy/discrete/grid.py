"""The integer grid on which sites' updates are summed: its step, its noise, its modulus, and what they promise.

A `Grid` is agreed by all sites of a sum; `plan_grid` chooses it. Lengths "on the grid" are in grid steps: a number x of
the model becomes x · scale.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hedgerow.privacy.accounting import DiscreteGaussian, Skellam
from hedgerow.privacy.discrete.rotation import rotated_size

__all__ = ["Grid", "Law", "Noise", "noise_event"]

Law = Literal["skellam", "discrete_gaussian"]
Noise = Skellam | DiscreteGaussian


def noise_event(law: Law, *, variance: float, parties: int, size: int, length: float, steps: int) -> Noise:
    """What sums of whole-number vectors cost: `size` numbers, each vector at most `length` long, on the grid.

    The sum of a vector's absolute numbers is at most length · sqrt(size), and, as whole numbers are at most their own
    squares, at most length².

    >>> noise_event("skellam", variance=100.0, parties=5, size=64, length=3.0, steps=2).l1
    9.0
    """
    l1 = length * min(math.sqrt(size), max(1.0, length))
    if law == "skellam":
        return Skellam(variance=variance, l1=l1, l2=length, steps=steps)
    return DiscreteGaussian(variance=variance, l1=l1, l2=length, dimension=size, parties=parties, steps=steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """How updates become whole numbers modulo 2^bits, and what the sum of them promises.

    Guarantee: one site more or less changes the noise-free sum by at most `clip` in length, as the whole numbers that
    are sent decode, whatever the site's update is. With at least `honest` sites' noise in it, the sum of every step is
    released at ε, δ for that change. With fewer, it must not be released: the step is void, and charged.
    """

    dimension: int
    clients: int  # sites in a sum, at most
    honest: int  # sites whose noise is in every released sum, at least
    clip: float  # the longest a site's vector can be, as sent
    input_clip: float  # to which an update is clipped before it is rounded: a little less
    scale: float  # grid steps per unit of the model
    law: Law
    share: float  # the variance of one site's noise, on the grid
    bits: int
    overflow: float  # chance, at most, that any coordinate of any sum wraps around
    epsilon: float
    delta: float
    steps: int
    noise_to_signal: float  # length of the noise in the mean of all groups, next to the longest that mean can be
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Numbers that a site sends: the rotated vector's."""
        return rotated_size(self.dimension)

    @property
    def modulus(self) -> int:
        """2^bits."""
        return 1 << self.bits

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Of what is sent: 2 bytes a number up to 16 bits, else 4."""
        return np.dtype(np.uint16 if self.bits <= 16 else np.uint32)

    @property
    def l2(self) -> float:
        """The longest a site's whole numbers can be."""
        return self.scale * self.clip

    @property
    def l1(self) -> float:
        """The largest sum of a site's absolute whole numbers."""
        return self.event.l1

    @property
    def linf(self) -> float:
        """The largest of a site's whole numbers."""
        return float(math.floor(self.l2))

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation of the least noise in a released sum, over `clip`."""
        return math.sqrt(self.variance(self.honest)) / self.l2

    @property
    def event(self) -> Noise:
        """What to enter in the ledger, for all steps: one site more or less, with the least noise that is released."""
        return noise_event(
            self.law,
            variance=self.variance(self.honest),
            parties=self.honest,
            size=self.size,
            length=self.l2,
            steps=self.steps,
        )

    def variance(self, survivors: int) -> float:
        """Of the noise in a sum in which so many sites' shares are, a coordinate, on the grid."""
        return survivors * self.share

    def std(self, survivors: int) -> float:
        """Standard deviation of that noise, in units of the model, as decoded."""
        return math.sqrt(self.variance(survivors)) / self.scale

    def releasable(self, noisy_survivors: int) -> bool:
        """Whether a sum with so many honest shares of noise keeps the promise."""
        return noisy_survivors >= self.honest
