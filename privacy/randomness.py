"""Where random numbers come from: the operating system, or a seed. Never one for the other.

A released result needs `OsRandomness`: nobody who knows the code, the seed of a job or the time can
repeat its draws. A simulation needs `SimulatedRandomness`: the same seed gives the same bytes. The two
are separate types, neither falls back into the other, and both say what they are in `description`,
which the ledger and every report repeat.
"""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from hedgerow.privacy.keystream import KEY_BYTES, keystream
from hedgerow.splitmix import splitmix, stream_start, uniforms

if TYPE_CHECKING:
    import torch

__all__ = ["SEED_DRAWS", "Bits", "OsRandomness", "Randomness", "SimulatedNoise", "SimulatedRandomness", "torch_seeded"]

SEED_DRAWS = 63  # numbers that `torch_seeded` takes from a stream

_DRAWS = 4
_CHUNK = 1 << 14  # samples per block: the block's temporaries stay in the processor's cache


class Randomness(Protocol):
    """What a private step draws: who takes part, and the noise.

    Guarantee: calls are independent of each other, of torch's and of numpy's global generators.
    """

    @property
    def description(self) -> str:
        """What a report says about the source."""
        ...

    def poisson_mask(self, records: int, rate: float) -> NDArray[np.bool_]:
        """Draw who takes part, `(records,)`: each record independently with probability `rate`."""
        ...

    def gaussian(self, shape: Sequence[int], std: float, dtype: "torch.dtype | None" = None) -> "torch.Tensor":
        """Draw a tensor of `shape` with mean 0 and standard deviation `std` (float32 unless said)."""
        ...

    def shuffled(self, n: int) -> NDArray[np.int64]:
        """Draw an order of 0 … n-1, for training without privacy: a shuffled epoch is not Poisson sampling."""
        ...


class Bits(Protocol):
    """A source of uniform bits: what integer noise and stochastic rounding are made from.

    Guarantee: every word of every call is independent of all others.
    """

    @property
    def description(self) -> str:
        """What a report says about the source."""
        ...

    def words(self, count: int) -> NDArray[np.uint64]:
        """Draw `count` uniform 64-bit words, `(count,)`."""
        ...


class SimulatedRandomness:
    """Seeded randomness for simulation: the same seed and path give the same stream, so it protects nobody.

    `path` names a stream within a seed, for example (site, round): different paths are unrelated streams. Masks, words
    and orders come from SplitMix64, whose outputs the cohort engine draws for many sites in one call. Gaussian samples
    come in float32 from a torch generator seeded by the stream's start, and do not move the other draws.

    >>> a, b = SimulatedRandomness(7, 3, 1), SimulatedRandomness(7, 3, 1)
    >>> bool((a.shuffled(50) == b.shuffled(50)).all())
    True
    >>> int(SimulatedRandomness(7).poisson_mask(1000, 0.1).sum())
    121
    """

    description = "seeded generator (simulation, not a DP release)"

    def __init__(self, seed: int, *path: int) -> None:
        start = stream_start(seed, *path)
        self._start = np.array([start], np.uint64)
        self._drawn = 0
        self._noise = SimulatedNoise(start)

    def poisson_mask(self, records: int, rate: float) -> NDArray[np.bool_]:
        """Draw who takes part, `(records,)`."""
        first, self._drawn = self._drawn, self._drawn + records
        mask: NDArray[np.bool_] = uniforms(self._start, first, records)[0] < rate
        return mask

    def gaussian(self, shape: Sequence[int], std: float, dtype: "torch.dtype | None" = None) -> "torch.Tensor":
        """Draw a tensor of `shape` with mean 0 and standard deviation `std`."""
        import torch

        drawn = torch.empty(math.prod(shape))
        self._noise.fill(drawn)
        return _shaped(drawn if dtype is None else drawn.to(dtype), shape, std, dtype)

    def shuffled(self, n: int) -> NDArray[np.int64]:
        """Draw an order of 0 … n-1."""
        return np.argsort(self.words(n), kind="stable").astype(np.int64)

    def words(self, count: int) -> NDArray[np.uint64]:
        """Draw `count` words, `(count,)`."""
        first, self._drawn = self._drawn, self._drawn + count
        words: NDArray[np.uint64] = splitmix(self._start, first, count)[0]
        return words


class SimulatedNoise:
    """The Gaussian part of a simulated stream, by its start.

    Drawing the noise is most of what a private step of a small network costs, and torch's generator is the fastest at
    hand. It takes 32 bits of the start: among a million streams about a hundred pairs share their noise, which no
    average over a simulation shows.
    """

    def __init__(self, start: int) -> None:
        self._start = start
        self._generator: torch.Generator | None = None

    def fill(self, out: "torch.Tensor") -> None:
        """Fill a float32 tensor with standard Gaussian samples; other threads go on meanwhile."""
        import torch

        if self._generator is None:
            self._generator = torch.Generator().manual_seed(self._start & 0xFFFFFFFF)
        out.normal_(generator=self._generator)


class OsRandomness:
    """Randomness from the operating system's generator: the source for anything that is released.

    Guarantee: every call asks `os.urandom` for a fresh 256-bit key and draws its bits from that key's AES-CTR stream,
    which is then forgotten. Nothing is seeded, stored or repeatable: another call, thread, process, fork or restored
    machine has other keys. Each Gaussian sample is the sum of four independent Box-Muller draws in float64, halved, so
    that the gaps between floating-point numbers do not give away what the noise was added to.
    Source: Holohan and Braghin, "Secure random sampling in differential privacy", arXiv 2107.10138, sec. 5.1.
    Cost: 32 bytes of the stream a sample.
    """

    description = "operating system generator"

    def poisson_mask(self, records: int, rate: float) -> NDArray[np.bool_]:
        """Draw who takes part, `(records,)`; rate 1 takes everybody."""
        return _uniform(records) < rate

    def gaussian(self, shape: Sequence[int], std: float, dtype: "torch.dtype | None" = None) -> "torch.Tensor":
        """Draw a tensor of `shape` with mean 0 and standard deviation `std`."""
        import torch

        samples = math.prod(shape)
        drawn = torch.empty(samples, dtype=torch.float64)
        for start in range(0, samples, _CHUNK):
            block = drawn[start : start + _CHUNK]
            block.copy_(_summed_box_muller(len(block)))
        return _shaped(drawn, shape, std, dtype)

    def shuffled(self, n: int) -> NDArray[np.int64]:
        """Draw an order of 0 … n-1."""
        return np.argsort(self.words(n), kind="stable").astype(np.int64)

    def words(self, count: int) -> NDArray[np.uint64]:
        """Draw `count` uniform words, `(count,)`."""
        return _words(count)


@contextmanager
def torch_seeded(randomness: Randomness, devices: Sequence[int] = ()) -> Iterator[None]:
    """Seed torch's global generators, which dropout draws from, and put them back afterwards.

    `devices` are the numbers of the accelerators in use. Without any, only the CPU's generator is touched: seeding all
    costs ten times as much, which counts where a round of a small site takes milliseconds.
    """
    import torch

    seed = int.from_bytes(np.packbits(randomness.poisson_mask(SEED_DRAWS, 0.5)).tobytes(), "big") >> 1
    if devices:
        with torch.random.fork_rng(list(devices)):
            torch.manual_seed(seed)
            yield
        return
    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)


def _words(count: int) -> NDArray[np.uint64]:
    return keystream(os.urandom(KEY_BYTES), 8 * count).view(np.uint64)


def _uniform(count: int) -> NDArray[np.float64]:
    """`count` uniform numbers on the 2^53 grid in [0, 1)."""
    return (_words(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _summed_box_muller(samples: int) -> "torch.Tensor":
    """Standard Gaussian samples, each half the sum of four draws from four different Box-Muller pairs."""
    import torch

    width = max(samples, 2)
    uniform = torch.from_numpy(_uniform(_DRAWS * width)).view(2, _DRAWS // 2, width)
    radius = (1.0 - uniform[0]).log_().mul_(-2.0).sqrt_()  # 1 - u lies in (0, 1], where the logarithm is finite
    angle = uniform[1].mul_(2.0 * math.pi)
    # A pair's cosine and sine would add up to a single shifted draw, so they go to neighbouring samples.
    total = (radius * angle.cos()).sum(dim=0) + (radius * angle.sin()).sum(dim=0).roll(1)
    return total[:samples] / 2.0


def _shaped(drawn: "torch.Tensor", shape: Sequence[int], std: float, dtype: "torch.dtype | None") -> "torch.Tensor":
    import torch

    return drawn.mul_(std).to(torch.float32 if dtype is None else dtype).view(tuple(shape))
