"""A task of points in the plane that trains in milliseconds."""

import numpy as np
import torch

from hedgerow import Data, Site, Split, Task

__all__ = ["Halves"]


class Halves(Task):
    """Points told apart by their first coordinate: 30 at each site, 40 at the server, `own` held out at each site."""

    name = "halves"
    labels = ("left", "right")

    def __init__(self, *, own: int = 0) -> None:
        self._own = own

    def model(self) -> torch.nn.Module:
        return torch.nn.Linear(2, 2)

    def data(self, site: Site) -> Data:
        return Data(_points(site.index, 30), _points(100 + site.index, self._own))

    def held_out(self) -> Split | None:
        return _points(999, 40)


def _points(seed: int, n: int) -> Split:
    x = np.random.default_rng(seed).standard_normal((n, 2)).astype(np.float32)
    return Split(x, (x[:, 0] > 0).astype(np.int64))
