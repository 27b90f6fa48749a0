"""Draw integers from a symmetric law by a table, exactly: no floating-point number takes part in a draw.

The law is given by whole-number masses. Walker's alias table turns 63 uniform bits into a magnitude and a 64th into its
sign. A table of 63-bit entries cannot hold every mass exactly, and what is cut off would add up over a billion
coordinates; so the cut-off parts together are one more entry, and a draw that falls on it (less than once in 2^44
draws) is decided among the parts by as many further bits as that takes. The integers therefore follow the given masses
exactly, not up to 2^-63.

Sources: Walker, "An efficient method for generating discrete random variables", ACM TOMS 3 (1977); Vose, IEEE TSE 17
(1991), for building the table. Not constant in time: the rare entry takes longer, and caches may tell which cell was
read to a program on the same machine.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from hedgerow.privacy.randomness import Bits

__all__ = ["SignedTable", "signed_table", "uniform_below"]

Integers = NDArray[np.int64]
Masses = Callable[[], Sequence[int]]

_WORD = 64
_PRECISION = 63  # of the table's entries; the word's last bit is the sign
_CHUNK = 1 << 14  # draws at a time: the temporaries stay in the processor's cache
_ONE = np.uint64(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTable:
    """A law on the integers, symmetric about 0, ready to draw from. `signed_table` builds it."""

    masses: Masses
    kept: Integers  # cell -> magnitude below the cell's threshold
    other: Integers  # cell -> magnitude from the threshold on
    threshold: NDArray[np.uint64]
    shift: int  # the cell of a 63-bit number is the number shifted by this
    dropped: int  # bits of a word that are left unused before the sign: 0 but in tests
    rare: int  # the magnitude that stands for the cut-off parts

    def draw(self, count: int, bits: Bits) -> Integers:
        """`count` independent integers of the law, `(count,)`. Cost: one word and some 10 ns a draw."""
        drawn = np.empty(count, np.int64)
        for start in range(0, count, _CHUNK):
            block = drawn[start : start + _CHUNK]
            self._fill(block, bits)
        return drawn

    def pmf(self) -> tuple[Integers, NDArray[np.float64]]:
        """The integers -K … K and their probabilities, rounded to float64; what lies outside weighs below 2^-100."""
        masses = self.masses()
        total = sum(masses)
        half = np.array([mass / total for mass in masses])
        half[1:] /= 2
        return np.arange(1 - len(half), len(half)), np.concatenate([half[:0:-1], half])

    def _fill(self, block: Integers, bits: Bits) -> None:
        words = bits.words(len(block))
        sign = (words & _ONE).astype(np.int64)
        number = words >> np.uint64(1 + self.dropped)
        cell = (number >> np.uint64(self.shift)).astype(np.int64)
        np.copyto(block, np.where(number < self.threshold[cell], self.kept[cell], self.other[cell]))
        for place in np.flatnonzero(block == self.rare):
            block[place] = self._among_the_cut_off(bits)
        block ^= -sign
        block += sign

    def _among_the_cut_off(self, bits: Bits) -> int:
        masses = self.masses()
        total, precision = sum(masses), _PRECISION - self.dropped
        ends = list(accumulate((mass << precision) % total for mass in masses))
        return bisect_right(ends, uniform_below(ends[-1], bits))


def signed_table(masses: Masses, *, precision: int = _PRECISION) -> SignedTable:
    """Build the table of a law: `masses()[k]` is the weight of the integers k and -k together.

    `masses` is a function because its numbers, of some 200 bits each, are not kept. `precision` is lowered by tests
    only, so that the rare entry is not rare.

    >>> from hedgerow.privacy.randomness import SimulatedRandomness
    >>> signed_table(lambda: [1, 2]).draw(8, SimulatedRandomness(7)).tolist()
    [0, 1, 0, -1, 0, 0, 1, 1]
    """
    weights = masses()
    total = sum(weights)
    floors = [(weight << precision) // total for weight in weights]
    while len(floors) > 1 and floors[-1] == 0:  # reached through the rare entry alone
        floors.pop()
    rare = len(weights)
    sizes = [*floors, (1 << precision) - sum(floors)]
    values = [*range(len(floors)), rare]
    depth = (len(sizes) - 1).bit_length()
    cell = 1 << (precision - depth)
    sizes += [0] * ((1 << depth) - len(sizes))
    values += [rare] * (len(sizes) - len(values))

    other = list(values)
    threshold = [0] * len(sizes)
    small = [i for i, size in enumerate(sizes) if size < cell]
    large = [i for i, size in enumerate(sizes) if size >= cell]
    while small:
        poor, rich = small.pop(), large[-1]
        threshold[poor], other[poor] = sizes[poor], values[rich]
        sizes[rich] -= cell - sizes[poor]
        if sizes[rich] < cell:
            small.append(large.pop())
    for i in large:  # what is left fills its cell exactly: the sizes are whole numbers with a whole sum
        threshold[i] = cell
    starts = np.arange(len(sizes), dtype=np.uint64) << np.uint64(precision - depth)
    return SignedTable(
        masses=masses,
        kept=np.array(values),
        other=np.array(other),
        threshold=starts + np.array(threshold, np.uint64),
        shift=precision - depth,
        dropped=_PRECISION - precision,
        rare=rare,
    )


def uniform_below(limit: int, bits: Bits) -> int:
    """A uniform integer in 0 … limit - 1, of any size, by rejection.

    >>> from hedgerow.privacy.randomness import SimulatedRandomness
    >>> uniform_below(10**30, SimulatedRandomness(7)) < 10**30
    True
    """
    length = (limit - 1).bit_length()
    count = max(1, -(-length // _WORD))
    while True:
        number = int.from_bytes(bits.words(count).astype("<u8").tobytes(), "little") >> (count * _WORD - length)
        if number < limit:
            return number
