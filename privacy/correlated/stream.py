"""The noise of a run, round by round, from the few vectors that it remembers."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hedgerow.errors import Misconfigured, Refused, Tampered
from hedgerow.privacy.correlated.plan import Plan

if TYPE_CHECKING:
    from hedgerow.privacy.randomness import Randomness

__all__ = ["NoiseStream"]

_CHUNK = 1 << 14  # coordinates at a time: the kept vectors' pieces stay in the processor's cache


class NoiseStream:
    """C⁻¹ z, one round a call: each round takes back part of the noise of the rounds before.

    `randomness(t)` is the source of round t's fresh noise, counted from 1: `lambda t: OsRandomness()` for whatever is
    released, `lambda t: SimulatedRandomness(seed, t)` in a simulation. `clip` is the norm that the contributions were
    cut to. Memory: the plan's bands - 1, or its buffers, times the dimension.

    What is kept is secret. It says how much noise the rounds so far still carry: who knows it can subtract that from
    the public models, and the protection that the later rounds rely on is gone. It never leaves the process, or the
    machine's own protected checkpoints: not into a message, a log, a report, nor another site's memory.

    Resuming: write `state()` to disk *before* the round's noise leaves, and go on from the last one written. A round
    that was drawn and never released is skipped, which costs nothing. A round drawn a second time is a second release
    of its contributions, which nobody charged; so an older state must not be gone back to.

    Raises: Misconfigured E103 for a dimension below 1, a clip that is not positive, another dtype than float32 or
    float64.
    """

    def __init__(
        self,
        plan: Plan,
        dimension: int,
        randomness: "Callable[[int], Randomness]",
        *,
        clip: float,
        dtype: DTypeLike = np.float64,
    ) -> None:
        if dimension < 1:
            raise Misconfigured("E103", f"dimension={dimension!r}, expected at least 1", place="dimension")
        if not 0.0 < clip < np.inf:
            raise Misconfigured("E103", f"clip={clip!r}, expected a positive finite number", place="clip")
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise Misconfigured("E103", f"dtype {np.dtype(dtype)}, expected float32 or float64", place="dtype")
        self.plan = plan
        self.clip = clip
        self.released = 0  # rounds drawn so far
        self._randomness = randomness
        self._kept: NDArray[np.floating] = np.zeros((plan.mechanism.memory, dimension), dtype)

    @property
    def dimension(self) -> int:
        return int(self._kept.shape[1])

    def next(self) -> NDArray[np.floating]:
        """The next round's noise, `(dimension,)`, to be added to the sum of clipped contributions.

        Raises: Refused E201 after the last round of the plan: nothing covers another release.
        Cost: the draw, and one pass over what is kept.
        """
        past, rounds = self.released, self.plan.participation.rounds
        if past == rounds:
            raise Refused(
                "E201",
                f"the plan covers {rounds} rounds, and all of them were drawn",
                place="rounds",
                hint="plan more rounds before the first one, or charge a new plan for what follows",
            )
        mechanism = self.plan.mechanism
        noise = self._fresh()
        recall = mechanism.recall(past).astype(noise.dtype)
        for start in range(0, self.dimension, _CHUNK):
            piece, kept = noise[start : start + _CHUNK], self._kept[:, start : start + _CHUNK]
            piece -= recall @ kept
            mechanism.remember(kept, piece, past)
        self.released = past + 1
        return noise

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All that another process needs to go on, as arrays: as secret as what is kept here."""
        return {
            "kept": self._kept.copy(),
            "released": np.array(self.released, np.int64),
            "digest": self._digest(),
        }

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on where `state` was taken: the next rounds are those that would have followed.

        Raises: Misconfigured E113 for a state of another plan, clip, dimension or dtype; Tampered E401 for one that no
        stream can have been in; Refused E201 for a state that is older than this stream. The stream is unchanged then.
        """
        kept, digest = state.get("kept"), state.get("digest")
        released = int(state["released"]) if "released" in state and state["released"].shape == () else -1
        if kept is None or digest is None or not np.array_equal(digest, self._digest()):
            raise Misconfigured("E113", "the noise belongs to another plan or clip", place="noise state")
        if kept.shape != self._kept.shape or kept.dtype != self._kept.dtype:
            raise Misconfigured(
                "E113",
                f"the noise has shape {kept.shape} and dtype {kept.dtype}, expected {self._kept.shape} and "
                f"{self._kept.dtype}",
                place="noise state",
            )
        if not (0 <= released <= self.plan.participation.rounds and np.isfinite(kept).all()):
            raise Tampered("E401", "no stream of noise can have been in this state", place="noise state")
        if released < self.released:
            raise Refused(
                "E201",
                f"the state is from round {released}, and {self.released} rounds were drawn",
                place="noise state",
                hint="drawing a round twice releases it twice: go on from the newest state",
            )
        self._kept = np.array(kept, self._kept.dtype)
        self.released = released

    def _digest(self) -> NDArray[np.uint8]:
        scale = np.array([self.clip]).view(np.uint8)
        return np.concatenate((np.frombuffer(bytes.fromhex(self.plan.digest), np.uint8), scale))

    def _fresh(self) -> NDArray[np.floating]:
        import torch

        dtype = torch.float32 if self._kept.dtype == np.float32 else torch.float64
        source = self._randomness(self.released + 1)
        drawn: NDArray[np.floating] = source.gaussian(
            (self.dimension,), self.plan.noise_scale * self.clip, dtype
        ).numpy()
        return drawn
