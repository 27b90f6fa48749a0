"""The user's own arrays: an `.npz` file, or a folder with `x.npy` and `y.npy`, as a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hedgerow.errors import Misconfigured
from hedgerow.task import Split
from hedgerow.tasks.arrayfile import ArraySource, MappedFile, blocks
from hedgerow.tasks.arraytask import ArrayTask, Model, are_images, hold_out

__all__ = ["ArrayTask", "Model", "arrays", "hold_out"]

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]

HELD_OUT = 0.2  # of each label, unless stated


def arrays(
    path: str | Path,
    x: str = "x",
    y: str = "y",
    *,
    site: str | None = None,
    labels: tuple[str, ...] = (),
    scale: float = 1.0,
    test_fraction: float | None = None,
    mapped: bool | None = None,
    model: Model | None = None,
) -> ArrayTask:
    """A task from an `.npz` file or from a folder of `.npy` files; nothing is ever unpickled.

    `x` (n, …) numbers, one record per row, divided by the public constant `scale`; `y` (n,) whole numbers 0 … k-1,
    each present; `site` (n,) names each record's site for `split = "column"`. `labels` names the k labels. Held out are
    the arrays `x_test` and `y_test` (the names of `x` and `y` with `_test`) where there are any, else `test_fraction`
    of each label, a fifth unless stated.

    Records that do not fit into memory: float32 `x.npy` of 256 MiB or more stays in its file (`mapped`: True for any
    size, False for none). Opening reads it once, a few megabytes at a time; a site's share is copied when it is used;
    of what `test_fraction` holds out, 64 MiB at most. Other dtypes and a `scale` would need a copy:
    `hedgerow.tasks.to_float32` writes one to disk.

    Raises:
        Misconfigured: E105 `test_fraction` beside test arrays, E120 the file is missing or damaged, E121 it lacks an
            array, E122 an array is not of numbers or cannot be mapped, E123 NaN or infinite values, E124 labels that
            are not 0 … k-1, E125 no records or none at a site, E126 shapes that do not fit.
    """
    if not (scale > 0 and np.isfinite(scale)):
        raise Misconfigured("E103", f"scale is {scale}, but must be a finite number above 0")
    path = Path(path)
    source = ArraySource.open(path)
    files: dict[str, MappedFile] = {}

    def split(x: str, y: str, part: str) -> Split:
        place = f"{path.name}: {x}"
        found = source.map(x, scale=scale, wanted=mapped)
        if found is not None:
            files[part] = found[1]
        targets = source.read(y)
        values = _records(source.read(x) if found is None else found[0], scale=scale, place=place)
        _same_length(values, targets, x, y, place=path.name)
        return Split(values, _labels(targets, place=f"{path.name}: {y}"))

    records = split(x, y, "train")
    column = None if site is None else _site_column(source.read(site), place=f"{path.name}: {site}")
    if site is not None and column is not None:
        _same_length(records.x, column, x, site, place=path.name)
    _refuse_gaps(records.y, labels, place=f"{path.name}: {y}")
    if model is None and records.x.ndim == 4 and records.x.shape[-1] in (1, 3) and not are_images(records.x.shape[1:]):
        raise Misconfigured(
            "E126",
            f"'{x}' has shape {records.x.shape}, which looks like images with their channels last",
            place=path.name,
            hint="put channels first, x.transpose(0, 3, 1, 2), or give your own model",
        )
    test = None
    if f"{x}_test" in source.names or f"{y}_test" in source.names:
        if test_fraction is not None:
            raise Misconfigured(
                "E105",
                f"test_fraction = {test_fraction:g}, but there are '{x}_test' and '{y}_test' to hold out",
                place=path.name,
                hint="leave test_fraction away, or rename these arrays",
            )
        test = split(f"{x}_test", f"{y}_test", "test")
        _refuse_other_kind(test, records, place=f"{path.name}: {x}_test")
    return ArrayTask(
        records,
        name=path.stem,
        labels=labels or tuple(str(label) for label in range(int(records.y.max()) + 1)),
        test_fraction=HELD_OUT if test_fraction is None else test_fraction,
        test=test,
        column=column,
        model=model,
        files=files,
    )


def _records(x: Array, *, scale: float, place: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
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
        values = (x / np.float32(scale) if scale != 1 else x).astype(np.float32, copy=False)
    _refuse_non_finite(values, place=place)
    return values


def _refuse_non_finite(values: Array, *, place: str) -> None:
    bad, first = 0, -1
    for rows in blocks(values):
        finite = np.isfinite(values[rows]).reshape(rows.stop - rows.start, -1).all(axis=1)
        if not finite.all():
            first = rows.start + int(np.argmin(finite)) if first < 0 else first
            bad += int(np.count_nonzero(~finite))
    if bad:
        raise Misconfigured(
            "E123",
            f"{bad} records have values that are NaN, infinite or too large for float32",
            place=f"{place}[{first}]",
            hint="fill the gaps in or remove these records",
        )


def _same_length(x: Array, other: Array, x_name: str, name: str, *, place: str) -> None:
    if other.ndim and len(x) != len(other):
        raise Misconfigured(
            "E126",
            f"'{x_name}' has {len(x)} records but '{name}' has {len(other)}",
            place=place,
            hint="each record needs one entry in every array",
        )


def _refuse_other_kind(test: Split, train: Split, *, place: str) -> None:
    if test.x.shape[1:] != train.x.shape[1:]:
        raise Misconfigured(
            "E126",
            f"held-out records have shape {test.x.shape[1:]}, the others {train.x.shape[1:]}",
            place=place,
            hint="prepare both in the same way",
        )
    beyond = test.y[(test.y < 0) | (test.y > train.y.max())]
    if len(beyond):
        raise Misconfigured(
            "E124",
            f"a held-out record has label {beyond[0]}, which no training record has",
            place=place,
            hint="number the labels of both arrays alike",
        )


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
