"""The user's own arrays: an `.npz` file, or a folder with `x.npy` and `y.npy`, as a task."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hedgerow.errors import Misconfigured
from hedgerow.splitmix import splitmix
from hedgerow.task import Data, PooledTask, Split
from hedgerow.tasks.models import mlp, small_cnn

if TYPE_CHECKING:
    import torch

__all__ = ["ArrayTask", "arrays", "hold_out"]

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]
Rows = np.ndarray[tuple[int], np.dtype[np.int64]]
Model = Callable[[], "torch.nn.Module"]

UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


class ArrayTask(PooledTask):
    """Records in memory. Without a `model`, a small CNN for images (n, 1 or 3, h, w), else an MLP of 64 hidden units.

    The held-out records are those of `hold_out(y, test_fraction)`; `column` (n,) names the site of each record.

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
        column: Array | None = None,
        model: Model | None = None,
    ) -> None:
        train, test = hold_out(records.y, test_fraction)
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
        self._pool = Data(records.take(train), records.take(test))
        self._column = None if column is None else column[train]
        self._model = model
        self._shape = records.x.shape[1:]

    def model(self) -> torch.nn.Module:
        if self._model is not None:
            return self._model()
        if _are_images(self._shape):
            return small_cnn(self._shape[0], (self._shape[1], self._shape[2]), len(self.labels))
        return mlp(int(np.prod(self._shape)), (64,), len(self.labels))

    def pool(self) -> Data:
        return self._pool

    @property
    def column(self) -> Array | None:
        return self._column


def arrays(
    path: str | Path,
    x: str = "x",
    y: str = "y",
    *,
    site: str | None = None,
    labels: tuple[str, ...] = (),
    scale: float = 1.0,
    test_fraction: float = 0.2,
    model: Model | None = None,
) -> ArrayTask:
    """A task from an `.npz` file or from a folder of `.npy` files; nothing is ever unpickled.

    `x` (n, …) numbers, one record per row, divided by the public constant `scale`; `y` (n,) whole numbers 0 … k-1,
    each present; `site` (n,) names each record's site for `split = "column"`. `labels` names the k labels.

    Raises:
        Misconfigured: E120 the file is missing or damaged, E121 it lacks an array, E122 an array is not of numbers,
            E123 NaN or infinite values, E124 labels that are not 0 … k-1, E125 no records or none at a site,
            E126 shapes that do not fit.
    """
    path = Path(path)
    names = [x, y] if site is None else [x, y, site]
    found = dict(zip(names, _read(path, names), strict=True))
    column = None if site is None else _site_column(found[site], place=f"{path.name}: {site}")
    values = _records(found[x], scale=scale, place=f"{path.name}: {x}")
    targets = _labels(found[y], place=f"{path.name}: {y}")
    for name in names[1:]:
        if len(found[name]) != len(values):
            raise Misconfigured(
                "E126",
                f"'{x}' has {len(values)} records but '{name}' has {len(found[name])}",
                place=path.name,
                hint="each record needs one entry in every array",
            )
    records = Split(values, targets)
    _refuse_gaps(targets, labels, place=f"{path.name}: {y}")
    if model is None and values.ndim == 4 and values.shape[-1] in (1, 3) and not _are_images(values.shape[1:]):
        raise Misconfigured(
            "E126",
            f"'{x}' has shape {values.shape}, which looks like images with their channels last",
            place=path.name,
            hint="put channels first, x.transpose(0, 3, 1, 2), or give your own model",
        )
    return ArrayTask(
        records,
        name=path.stem,
        labels=labels or tuple(str(label) for label in range(int(targets.max()) + 1)),
        test_fraction=test_fraction,
        column=column,
        model=model,
    )


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


def _are_images(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) >= 4


def _read(path: Path, names: list[str]) -> list[Array]:
    if path.is_dir():
        present = sorted(file.stem for file in path.glob("*.npy"))
        return [_load(path, name, present, lambda name: np.load(path / f"{name}.npy")) for name in names]
    try:
        archive = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        hint = "give the path of an .npz file"
        raise Misconfigured("E120", f"there is no {path.name}", place=str(path), hint=hint) from None
    except UNREADABLE as error:
        raise _damaged(path) from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise Misconfigured(
            "E120",
            f"{path.name} holds one array, but a task needs '{names[0]}' and '{names[1]}'",
            place=str(path),
            hint="give the folder with both .npy files, or an .npz file",
        )
    with archive:
        return [_load(path, name, archive.files, archive.__getitem__) for name in names]


def _load(path: Path, name: str, present: list[str], load: Callable[[str], Any]) -> Array:
    if name not in present:
        raise Misconfigured(
            "E121",
            f"there is no array '{name}' in {path.name}",
            place=str(path),
            hint=f"the arrays are {', '.join(present)}" if present else "it holds no arrays",
        )
    try:
        return np.asarray(load(name))
    except UNREADABLE as error:
        if "Object arrays" in str(error):  # numpy has no own type for this refusal
            raise Misconfigured(
                "E122",
                f"'{name}' is an array of Python objects, which only unpickling could read",
                place=f"{path.name}: {name}",
                hint="save numbers or text, for example np.asarray(values, dtype=np.float32)",
            ) from None
        raise _damaged(path) from error


def _damaged(path: Path) -> Misconfigured:
    return Misconfigured(
        "E120", f"{path.name} is no readable array file", place=str(path), hint="write it again with np.savez"
    )


def _records(x: Array, *, scale: float, place: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    if not (scale > 0 and np.isfinite(scale)):
        raise Misconfigured("E103", f"scale is {scale}, but must be a finite number above 0")
    if x.dtype.kind not in "biuf":
        hint = "encode text as numbers first"
        raise Misconfigured("E122", f"records are {x.dtype}, not numbers", place=place, hint=hint)
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise Misconfigured(
            "E126",
            f"records have shape {x.shape}, but must be (n, features) or (n, …)",
            place=place,
            hint="for a single feature use x.reshape(-1, 1)" if x.ndim == 1 else "put one record in each row",
        )
    if not len(x):
        raise Misconfigured("E125", "there are no records", place=place, hint="save at least one record of each label")
    with np.errstate(over="ignore"):  # what overflows float32 is found as infinite below
        scaled = (x / np.float32(scale) if scale != 1 else x).astype(np.float32)
    finite = np.isfinite(scaled).reshape(len(x), -1).all(axis=1)
    if not finite.all():
        raise Misconfigured(
            "E123",
            f"{np.count_nonzero(~finite)} records have values that are NaN, infinite or too large for float32",
            place=f"{place}[{int(np.argmin(finite))}]",
            hint="fill the gaps in or remove these records",
        )
    return scaled


def _labels(y: Array, *, place: str) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    if y.ndim != 1:
        raise Misconfigured(
            "E126", f"labels have shape {y.shape}, but must be (n,)", place=place, hint="one column of labels: y[:, 0]"
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        hint = "remove the records without a label"
        raise Misconfigured("E123", "some labels are NaN or infinite", place=place, hint=hint)
    if y.dtype.kind not in "biu":
        raise Misconfigured(
            "E124",
            f"labels are {y.dtype}, not whole numbers",
            place=place,
            hint="use np.unique(y, return_inverse=True)[1]",
        )
    return y.astype(np.int64)


def _refuse_gaps(y: Array, names: tuple[str, ...], *, place: str) -> None:
    present = np.unique(y)
    if present[0] < 0:
        raise Misconfigured(
            "E124", f"a label is {present[0]}", place=place, hint="labels are 0, 1, … ; np.unique(…) renumbers them"
        )
    if len(present) < 2:
        raise Misconfigured(
            "E124", f"every label is {present[0]}", place=place, hint="learning needs at least two labels"
        )
    missing = np.flatnonzero(present != np.arange(len(present)))
    if len(missing):
        raise Misconfigured(
            "E124",
            f"labels reach {present[-1]}, but no record has label {missing[0]}",
            place=place,
            hint="renumber them without gaps: np.unique(y, return_inverse=True)[1]",
        )
    if names and len(names) != len(present):
        raise Misconfigured(
            "E124",
            f"{len(names)} label names for {len(present)} labels",
            place=place,
            hint="name every label, in the order of their numbers",
        )


def _site_column(values: Array, *, place: str) -> Array:
    if values.ndim != 1 or values.dtype.kind not in "iuU":
        raise Misconfigured(
            "E122",
            f"the site array is {values.dtype} of shape {values.shape}, but must be text or whole numbers, (n,)",
            place=place,
            hint="one name for each record: np.asarray(names, dtype=str)",
        )
    return values
