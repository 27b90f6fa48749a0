"""A task on arrays that are at hand, and which of their records are held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hedgerow.errors import Misconfigured
from hedgerow.splitmix import splitmix
from hedgerow.task import Data, PooledTask, Split
from hedgerow.tasks.arrayfile import MappedFile
from hedgerow.tasks.models import mlp, small_cnn

if TYPE_CHECKING:
    import torch

__all__ = ["ArrayTask", "Model", "are_images", "hold_out"]

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]
Rows = np.ndarray[tuple[int], np.dtype[np.int64]]
Model = Callable[[], "torch.nn.Module"]

HELD_BYTES = 64 << 20  # of records that stay in their file, what is held out at most: it is copied into memory


class ArrayTask(PooledTask):
    """Records in memory or in their files. Without a `model`, a small CNN for images (n, 1 or 3, h, w), else an MLP of
    64 hidden units.

    The held-out records are `test`, or else those of `hold_out(y, test_fraction)`; `column` (n,) names the site of each
    record. `files` names the part, "train" or "test", whose records stay in a file: they are never copied as a whole,
    a pickled task holds the file's place only, and a file that changed is refused (E120).

    Raises:
        Misconfigured: E103 as `hold_out`, E125 if a site's records are all held out.
    """

    def __init__(
        self,
        records: Split,
        *,
        name: str,
        labels: tuple[str, ...],
        test_fraction: float,
        test: Split | None = None,
        column: Array | None = None,
        model: Model | None = None,
        files: Mapping[str, MappedFile] | None = None,
    ) -> None:
        self._files = dict(files or {})
        if "train" in self._files:
            test_fraction = min(test_fraction, HELD_BYTES / max(1, records.x.nbytes))
        train, held = hold_out(records.y, test_fraction if test is None else 0.0)
        lost = np.empty(0) if column is None else np.setdiff1d(column, column[train])
        if len(lost):
            raise Misconfigured(
                "E125",
                f"every record of site '{lost[0]}' is held out, so it has none to train on",
                place=name,
                hint="remove that site's records, or lower test_fraction",
            )
        self.name = name
        self.labels = labels
        in_place = test is not None or "train" in self._files
        self._pool = Data(records if in_place else records.take(train), records.take(held) if test is None else test)
        self._rows = train if in_place and len(held) else None
        self._column = None if column is None else column[train]
        self._model = model
        self._shape = records.x.shape[1:]

    def model(self) -> torch.nn.Module:
        if self._model is not None:
            return self._model()
        if are_images(self._shape):
            return small_cnn(self._shape[0], (self._shape[1], self._shape[2]), len(self.labels))
        return mlp(int(np.prod(self._shape)), (64,), len(self.labels))

    def pool(self) -> Data:
        """All records.

        Raises:
            Misconfigured: E120 if a file that holds some of them has changed since it was opened.
        """
        for file in self._files.values():
            file.check()
        return self._pool

    def training_rows(self) -> Rows | None:
        return self._rows

    @property
    def column(self) -> Array | None:
        return self._column

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the records that are in files."""
        pool = {"train": self._pool.train, "test": self._pool.test}
        kept = {name: (None if name in self._files else part.x, part.y) for name, part in pool.items()}
        return {**self.__dict__, "_pool": kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        parts = {
            name: Split(self._files[name].open() if name in self._files else x, y)
            for name, (x, y) in state["_pool"].items()
        }
        self._pool = Data(**parts)


def hold_out(labels: Array, fraction: float) -> tuple[Rows, Rows]:
    """Which rows to train on and which to hold out: `fraction` of each label, rounded, never all of it.

    The choice depends on the labels and their order only, not on any seed or library version: within a label, rows are
    ranked by a 64-bit mix of their row number (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014, Figure 17). Both results are in ascending order.

    Raises:
        Misconfigured: E103 if the fraction is below 0, or 1 and more.

    >>> [len(rows) for rows in hold_out(np.repeat([0, 1], [80, 20]), 0.2)]
    [80, 20]
    """
    if not 0 <= fraction < 1:
        raise Misconfigured("E103", f"test_fraction is {fraction}, but must be at least 0 and less than 1")
    key = splitmix(np.zeros(1, np.uint64), 0, len(labels))[0]
    held: list[Rows] = [np.empty(0, np.int64)]
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = min(int(fraction * len(rows) + 0.5), len(rows) - 1)
        held.append(rows[np.argsort(key[rows], kind="stable")[:count]])
    test = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), test, assume_unique=True), test


def are_images(shape: tuple[int, ...]) -> bool:
    """Whether records of this shape are grey or RGB images, channels first."""
    return len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) >= 4
