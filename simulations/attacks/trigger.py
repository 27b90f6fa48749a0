"""The mark that a backdoor answers to: a few features and the values that they are set to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hedgerow.task import Split

__all__ = ["Trigger"]

SIDE = 2  # pixels of an image's corner each way, so four pixels
FEATURES = 4  # of a record that is no image, at most


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trigger:
    """Positions (p,) in a flat record, in `parts` that attackers may share out, and the values (p,) written there.

    `parts[i]` says which part position i belongs to: one per pixel of an image, whatever its channels.
    """

    positions: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    parts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, records: Split) -> Trigger:
        """The mark for records of this kind: the last 2 × 2 pixels of an image, the last features of a table's row.

        Values within [0, 1], as images have, are marked with 1; others with their feature's largest and smallest value
        in turn, which no honest record shows together. A table's row is marked on a quarter of its features, at least
        one and at most four.

        >>> Trigger.of(Split(np.zeros((3, 1, 4, 4), np.float32), np.zeros(3, np.int64))).positions.tolist()
        [10, 11, 14, 15]
        """
        x = records.x
        shape = x.shape[1:]
        if len(shape) >= 2:
            *channels, height, width = shape
            corner = np.zeros((height, width), bool)
            corner[-SIDE:, -SIDE:] = True
            marked = np.broadcast_to(corner, shape).reshape(-1)
            pixel = np.broadcast_to(np.arange(height * width).reshape(height, width), shape).reshape(-1)
            positions = np.flatnonzero(marked)
            _, parts = np.unique(pixel[positions], return_inverse=True)
        else:
            size = int(np.prod(shape, dtype=np.int64))
            positions = np.arange(size - min(FEATURES, max(1, size // 4)), size)
            parts = np.arange(len(positions))
        flat = x.reshape(len(x), -1)[:, positions]
        shares = not len(x) or (x.min() >= 0 and x.max() <= 1)
        values = np.ones(len(positions)) if shares else np.where(parts % 2 == 0, flat.max(axis=0), flat.min(axis=0))
        return cls(positions=positions.astype(np.int64), values=values.astype(np.float32), parts=parts.astype(np.int64))

    def share(self, rank: int, of: int) -> Trigger:
        """The part of the mark that falls to one of `of` attackers; all of them together have all of it.

        >>> whole = Trigger.of(Split(np.zeros((1, 8), np.float32), np.zeros(1, np.int64)))
        >>> whole.positions.tolist(), whole.share(1, 2).positions.tolist()
        ([6, 7], [7])
        """
        count = int(self.parts.max()) + 1
        mine = self.parts % of == rank if of <= count else self.parts == rank % count
        return Trigger(
            positions=self.positions[mine],
            values=self.values[mine],
            parts=np.unique(self.parts[mine], return_inverse=True)[1].astype(np.int64),
        )

    def stamp(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """A copy of the records with the mark on each."""
        marked = np.array(x, np.float32)
        marked.reshape(len(x), -1)[:, self.positions] = self.values
        return marked
