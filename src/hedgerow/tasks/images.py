"""A folder of images, one subfolder per label, as a task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hedgerow.errors import Misconfigured
from hedgerow.task import Split
from hedgerow.tasks.arrays import ArrayTask, Model

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["images"]

SUFFIXES = (".png", ".jpg", ".jpeg")


def images(
    folder: str | Path,
    size: tuple[int, int],
    channels: int = 1,
    *,
    site: bool = False,
    test_fraction: float = 0.2,
    model: Model | None = None,
) -> ArrayTask:
    """A task from `folder/<label>/*.png|jpg`, or from `folder/<site>/<label>/*.png|jpg` with `site=True`.

    Records (n, channels, height, width) in [0, 1]: each image is turned as its camera says, made grey or RGB, resized
    to `size` = (height, width) and divided by 255. Labels, sites and files are taken in the order of their names;
    hidden files and other suffixes are passed over. All images are held in memory, 4 bytes a value.

    Raises:
        Misconfigured: E107 Pillow is missing, E103 `size` below 4 or `channels` neither 1 nor 3, E120 no such folder
            or an image that cannot be read, E122 16-bit images, E124 fewer than two labels or one without an image,
            E125 a site whose images are all held out.
    """
    folder = Path(folder)
    if channels not in (1, 3):
        raise Misconfigured("E103", f"channels is {channels}, but must be 1 (grey) or 3 (RGB)")
    if min(size) < 4:
        raise Misconfigured("E103", f"size is {size}, but both sides must be at least 4 pixels")
    pillow = _pillow()
    if not folder.is_dir():
        raise Misconfigured(
            "E120", f"there is no folder {folder.name}", place=str(folder), hint="give the folder with one per label"
        )
    homes = _folders(folder) if site else [folder]
    files = [(file, label.name, home.name) for home in homes for label in _folders(home) for file in _images(label)]
    labels = tuple(sorted({label.name for home in homes for label in _folders(home)}))
    _refuse_few(folder, labels, {label for _, label, _ in files})
    x = np.empty((len(files), channels, *size), np.float32)
    for row, (file, _, _) in enumerate(files):
        x[row] = _pixels(pillow, file, size, channels)
    y = np.array([labels.index(label) for _, label, _ in files], np.int64)
    return ArrayTask(
        Split(x, y),
        name=folder.name or "images",
        labels=labels,
        test_fraction=test_fraction,
        column=np.array([home for _, _, home in files]) if site else None,
        model=model,
    )


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise Misconfigured("E107", "reading images needs Pillow", hint="pip install 'hedgerow[full]'") from None
    return Image


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    return sorted(
        entry for entry in folder.iterdir() if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".")
    )


def _refuse_few(folder: Path, labels: tuple[str, ...], seen: set[str]) -> None:
    if len(labels) < 2:
        found = f"only the label folder '{labels[0]}'" if labels else "no label folders"
        raise Misconfigured(
            "E124",
            f"{folder.name} has {found}",
            place=str(folder),
            hint="learning needs at least two: folder/<label>/image.png, or folder/<site>/<label>/ with site=True",
        )
    for label in labels:
        if label not in seen:
            raise Misconfigured(
                "E124",
                f"no image has label '{label}'",
                place=str(folder),
                hint="put .png or .jpg files into it, or remove the folder",
            )


def _pixels(pillow: Any, file: Path, size: tuple[int, int], channels: int) -> np.ndarray:
    from PIL import ImageOps

    try:
        with pillow.open(file, formats=("PNG", "JPEG")) as opened:
            if opened.mode.startswith("I"):
                raise Misconfigured(
                    "E122",
                    f"{file.name} has 16 bits a pixel",
                    place=str(file),
                    hint="save it with 8 bits, so that one scale holds for every image",
                )
            image: Image.Image = ImageOps.exif_transpose(opened).convert("L" if channels == 1 else "RGB")
    except (OSError, SyntaxError, ValueError, EOFError, pillow.DecompressionBombError):
        raise Misconfigured(
            "E120", f"{file.name} is no readable PNG or JPEG", place=str(file), hint="replace or remove the file"
        ) from None
    resized = image.resize((size[1], size[0]), pillow.Resampling.BILINEAR)
    values = np.asarray(resized, np.float32).reshape(*size, channels) / np.float32(255)
    return values.transpose(2, 0, 1)
