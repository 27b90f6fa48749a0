"""Feature shift: each site's records measured by a device of its own, scaled and offset per feature."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Affine", "shifted", "site_shift"]

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Affine = tuple[Floats, Floats]  # scale and offset, each of the shape of one record


def site_shift(strength: float, shape: tuple[int, ...], rng: np.random.Generator) -> Affine:
    """A site's scale exp(strength · g) and offset strength · g', with standard Gaussian g and g' for every feature.

    The offset is in the features' own unit: meant for features of standard deviation around 1.

    >>> scale, offset = site_shift(0.0, (2,), np.random.default_rng(0))
    >>> scale.tolist(), offset.tolist()
    ([1.0, 1.0], [0.0, 0.0])
    """
    g = rng.standard_normal((2, *shape))
    return np.exp(strength * g[0]).astype(np.float32), (strength * g[1]).astype(np.float32)


def shifted(x: np.ndarray[Any, np.dtype[np.float32]], affine: Affine) -> Floats:
    """Records (n, …) as the site's device measures them: x · scale + offset, in float32."""
    scale, offset = affine
    moved: Floats = x * scale
    moved += offset
    return moved
