"""SplitMix64: a counter-based generator, so that many simulated streams can be drawn in one numpy call.

Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 17. The i-th output
of a stream is a mix of `start + i · 0x9e3779b97f4a7c15`, whatever was drawn before. For simulation only: whoever knows
one output knows the stream.
"""

import hashlib
import struct

import numpy as np
from numpy.typing import NDArray

__all__ = ["later", "splitmix", "stream_start", "uniforms"]

Words = NDArray[np.uint64]
Whole = NDArray[np.int64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = (np.uint64(bits) for bits in (30, 27, 31, 11))


def stream_start(seed: int, *path: int) -> int:
    """The 64-bit start of the stream that `path` names within `seed`, for example (site, round).

    >>> stream_start(7, 3, 1) == stream_start(7, 3, 1) != stream_start(7, 1, 3)
    True
    """
    name = struct.pack(f"<{1 + len(path)}q", seed, *path)
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")


def later(starts: Words, draws: Whole) -> Words:
    """The starts of the streams that go on where these stand after so many `draws` (broadcast).

    >>> starts = np.array([7], np.uint64)
    >>> bool((splitmix(later(starts, np.array([3])), 0, 2) == splitmix(starts, 3, 2)).all())
    True
    """
    return starts + draws.astype(np.uint64) * _STEP


def splitmix(starts: Words, first: int, count: int) -> Words:
    """Outputs `first` … `first + count - 1` (counted from 0) of each stream: starts (…,) → (…, count).

    The first output of the stream that starts at 0:

    >>> hex(int(splitmix(np.zeros(1, np.uint64), 0, 1)[0, 0]))
    '0xe220a8397b1dcdaf'
    """
    steps = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    steps *= _STEP
    z: Words = starts[..., None] + steps
    z ^= z >> _30
    z *= _FIRST
    z ^= z >> _27
    z *= _SECOND
    z ^= z >> _31
    return z


def uniforms(starts: Words, first: int, count: int) -> NDArray[np.float64]:
    """As `splitmix`, as numbers on the 2^53 grid in [0, 1)."""
    bits = splitmix(starts, first, count)
    bits >>= _11
    numbers: NDArray[np.float64] = bits.astype(np.float64)
    numbers *= 2.0**-53
    return numbers
