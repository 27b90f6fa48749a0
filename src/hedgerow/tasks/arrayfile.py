"""Arrays in files: an `.npz` archive, or a folder of `.npy` files, whose records may be larger than memory."""

from __future__ import annotations

import lzma
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hedgerow.disk import disk_errors
from hedgerow.errors import Misconfigured

__all__ = ["LARGE", "ArraySource", "MappedFile", "blocks", "to_float32"]

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]

LARGE = 256 << 20  # bytes of float32 records from which they stay in their file unless asked otherwise
BLOCK = 8 << 20  # bytes of records that are looked at together
UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedFile:
    """An `.npy` file whose records stay in it, as it was when it was opened."""

    path: Path
    size: int
    modified: int

    @classmethod
    def of(cls, path: Path) -> MappedFile:
        path = path.resolve()
        now = path.stat()
        return cls(path=path, size=now.st_size, modified=now.st_mtime_ns)

    def check(self) -> None:
        """Refuse a file that changed: what was checked when it was opened no longer holds.

        Raises:
            Misconfigured: E120.
        """
        try:
            unchanged = self == MappedFile.of(self.path)
        except OSError:
            unchanged = False
        if not unchanged:
            raise Misconfigured(
                "E120",
                f"{self.path.name} has changed since it was opened, or is gone",
                place=str(self.path),
                hint="start again; write new data into another folder while a run uses the old",
            )

    def open(self) -> Array:
        """The file's array, read-only: its pages are read when they are used and can be dropped again.

        Raises:
            Misconfigured: E120.
        """
        self.check()
        try:
            return np.asarray(np.load(self.path, mmap_mode="r"))
        except UNREADABLE as error:
            raise _damaged(self.path) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySource:
    """A folder of `.npy` files or an `.npz` archive, of which `names` can be read."""

    path: Path
    names: tuple[str, ...]
    folder: bool

    @classmethod
    def open(cls, path: Path) -> ArraySource:
        """Look what there is.

        Raises:
            Misconfigured: E120 the file is missing or no archive.
        """
        if path.is_dir():
            return cls(path=path, names=tuple(sorted(file.stem for file in path.glob("*.npy"))), folder=True)
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
                f"{path.name} holds one array, but a task needs records and labels",
                place=str(path),
                hint="give the folder with both .npy files, or an .npz file",
            )
        with archive:
            return cls(path=path, names=tuple(archive.files), folder=False)

    def read(self, name: str) -> Array:
        """The whole array in memory; nothing is ever unpickled.

        Raises:
            Misconfigured: E120 damaged, E121 no such array, E122 an array of Python objects.
        """
        self._need(name)
        if self.folder:
            return self._loaded(name, lambda: np.load(self.path / f"{name}.npy", allow_pickle=False))
        return self._loaded(name, lambda: self._extracted(name))

    def map(self, name: str, *, scale: float = 1.0, wanted: bool | None = None) -> tuple[Array, MappedFile] | None:
        """Records that stay in their file, or `None` where they had better be read.

        `wanted` = None maps what can be mapped and has `LARGE` bytes or more, True whatever can be, False nothing.

        Raises:
            Misconfigured: E120 damaged, E121 no such array, E122 if `wanted` is True and they cannot be mapped.
        """
        self._need(name)
        place = f"{self.path.name}: {name}"
        if wanted is False or (wanted is None and not self.folder):
            return None
        if not self.folder:
            hint = f"unpack it, python -m zipfile -e {self.path.name} {self.path.stem}, and give the folder"
            raise Misconfigured("E122", "an archive cannot be mapped, only .npy files", place=place, hint=hint)
        file = self.path / f"{name}.npy"
        found = self._loaded(name, lambda: np.load(file, mmap_mode="r", allow_pickle=False))
        if found.dtype.kind not in "biuf" or (wanted is None and found.nbytes < LARGE):
            return None  # what is not of numbers is refused when it is read
        if not (found.dtype == np.float32 and scale == 1 and found.flags.c_contiguous):
            if wanted is None:
                return None
            kind = f"{found.dtype}" + (" in column order" if not found.flags.c_contiguous else "")
            call = f"to_float32('{name}.npy', '{name}-float32.npy'" + (f", scale={scale:g})" if scale != 1 else ")")
            raise Misconfigured(
                "E122",
                f"records that are {kind}" + (f", to be divided by {scale:g}," if scale != 1 else "") + " need a copy",
                place=place,
                hint="only float32 can stay in its file; convert it once, in its folder, and name that array: "
                f'python -c "from hedgerow.tasks import to_float32; {call}"',
            )
        return found, MappedFile.of(file)

    def _need(self, name: str) -> None:
        if name not in self.names:
            raise Misconfigured(
                "E121",
                f"there is no array '{name}' in {self.path.name}",
                place=str(self.path),
                hint=f"the arrays are {', '.join(self.names)}" if self.names else "it holds no arrays",
            )

    def _extracted(self, name: str) -> Any:
        with np.load(self.path, allow_pickle=False) as archive:
            return archive[name]

    def _loaded(self, name: str, load: Callable[[], Any]) -> Array:
        try:
            return np.asarray(load())
        except UNREADABLE as error:
            # numpy has no own type for this refusal
            if "Object arrays" in str(error) or "Array can't be memory-mapped" in str(error):
                raise Misconfigured(
                    "E122",
                    f"'{name}' is an array of Python objects, which only unpickling could read",
                    place=f"{self.path.name}: {name}",
                    hint="save numbers or text, for example np.asarray(values, dtype=np.float32)",
                ) from None
            raise _damaged(self.path) from error


def blocks(x: Array, size: int = BLOCK) -> Iterator[slice]:
    """Consecutive rows, about `size` bytes of them at a time.

    >>> list(blocks(np.zeros((5, 2), np.float32), size=16))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    rows = max(1, size * len(x) // max(1, x.nbytes))
    return (slice(start, min(start + rows, len(x))) for start in range(0, len(x), rows))


def to_float32(source: str | Path, target: str | Path, *, scale: float = 1.0) -> None:
    """Write an `.npy` file of numbers as float32, divided by `scale`, so that it can stay in its file.

    Reads and writes a few megabytes at a time; the target appears when it is whole.

    Raises:
        Misconfigured: E103 a scale that is not above 0, E120 the source is missing or damaged, E122 it is not of
            numbers. Exhausted: E503, E504 it cannot be written.
    """
    source, target = Path(source), Path(target)
    if not (scale > 0 and np.isfinite(scale)):
        raise Misconfigured("E103", f"scale is {scale}, but must be a finite number above 0")
    try:
        found = np.load(source, mmap_mode="r", allow_pickle=False)
    except UNREADABLE as error:
        raise _damaged(source) from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf":
        raise Misconfigured("E122", f"{source.name} holds no array of numbers", place=str(source))
    with disk_errors(target.name, target.parent):
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".tmp")
        try:
            with open(handle, "wb") as file, np.errstate(over="ignore"):  # `arrays` finds what became infinite
                header = {"descr": "<f4", "fortran_order": False, "shape": found.shape}
                np.lib.format.write_array_header_1_0(file, header)
                for rows in blocks(found):
                    part = found[rows]
                    np.ascontiguousarray(part / np.float32(scale) if scale != 1 else part, "<f4").tofile(file)
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


def _damaged(path: Path) -> Misconfigured:
    return Misconfigured(
        "E120", f"{path.name} is no readable array file", place=str(path), hint="write it again with np.savez"
    )
