"""Client momentum: a site answers with the average of its updates so far instead of the last one alone.

Hostile updates hide in the spread of honest ones. Averaged over rounds, honest updates spread less, and little is left
to hide in (Karimireddy, He and Jaggi, "Learning from History for Byzantine Robust Optimization", ICML 2021, arXiv
2012.10333, section 5). Updates that left the site with their noise may be averaged freely: it is post-processing.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hedgerow.disk import disk_errors, write_whole
from hedgerow.errors import Tampered

__all__ = ["Momentum", "MomentumStore"]

KEPT = 3  # rounds on the disk, of those that the site was asked in: a resumed coordinator asks for its last again
KEPT_RUNS = 4  # that take turns at a site
SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Momentum:
    """What k sites remember of their updates: `average` (k, d) float32, and after how many `steps` (k,) each.

    >>> memory = Momentum.none(1, 2)
    >>> memory, sent = memory.after(np.array([[1.0, 2.0]], np.float32), beta=0.5)
    >>> sent.tolist()
    [[1.0, 2.0]]
    >>> memory, sent = memory.after(np.array([[4.0, 2.0]], np.float32), beta=0.5)
    >>> sent.tolist()
    [[3.0, 2.0]]
    """

    average: NDArray[np.float32]
    steps: NDArray[np.int64]

    @classmethod
    def none(cls, sites: int, size: int) -> Momentum:
        """Nothing yet, for updates of `size` numbers."""
        return cls(average=np.zeros((sites, size), np.float32), steps=np.zeros(sites, np.int64))

    def after(self, updates: NDArray[np.float32], *, beta: float) -> tuple[Momentum, NDArray[np.float32]]:
        """The memory after one more update of each site (k, d), and what the sites send, (k, d).

        An exponential average with weight `beta` on the past, divided by 1 - beta^steps, so that the first update is
        sent as it is and no later one is pulled towards zero (Kingma and Ba, ICLR 2015, section 3). For beta = 0 that
        is the update, bit for bit.
        """
        average = np.float32(beta) * self.average + np.float32(1.0 - beta) * updates
        steps = self.steps + 1
        sent = average * (1.0 / (1.0 - beta**steps)).astype(np.float32)[:, None]
        return Momentum(average=average, steps=steps), sent


class MomentumStore:
    """The memory of one run on the disk, a file a round, the last few rounds only.

    A round that is asked again starts from the memory before it, so a resumed run repeats itself to the byte. The
    coordinator numbers the rounds, as it likes.
    """

    def __init__(self, folder: Path, *, durable: bool) -> None:
        self._folder = folder
        self._durable = durable

    @classmethod
    def of_site(cls, store: Path, *, site: str, run: str, durable: bool) -> MomentumStore:
        """A site's memory of a run, below the site's own `store`; all but the latest few runs are forgotten.

        A coordinator names its runs as it likes: folders are named by a hash, and cannot fill the disk.

        Raises:
            Exhausted: E503, E504.
        """
        runs = store / "momentum" / _hashed(site)
        own = runs / _hashed(run)
        with disk_errors("the momentum", store):
            store.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not own.is_dir() and runs.is_dir():
            for old in sorted(runs.iterdir(), key=lambda path: path.stat().st_mtime_ns)[: 1 - KEPT_RUNS]:
                shutil.rmtree(old, ignore_errors=True)
        return cls(own, durable=durable)

    def before(self, round: int, sites: int, size: int) -> Momentum:
        """The memory of the last round before `round`; nothing where there is none.

        Raises:
            Tampered: E401 if the file is no memory of so many `sites` with updates of `size`.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        rounds = [number for number in self._rounds() if number < round]
        if not rounds:
            return Momentum.none(sites, size)
        path = self._path(max(rounds))
        try:
            found = load(path.read_bytes())
            memory = Momentum(average=found["average"], steps=found["steps"])
        except (OSError, SafetensorError, KeyError):
            raise Tampered("E401", "a site's momentum cannot be read", place=str(path)) from None
        if (memory.average.shape, memory.steps.shape) != ((sites, size), (sites,)):
            raise Tampered("E401", "a site's momentum does not fit the model", place=str(path))
        return memory

    def save(self, round: int, memory: Momentum) -> None:
        """Write the memory after `round`, and forget rounds that are long past or were taken back.

        Raises:
            Exhausted: E503, E504.
        """
        from safetensors.numpy import save

        with disk_errors("the momentum", self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self._path(round), save({"average": memory.average, "steps": memory.steps}), durable=self._durable)
        rounds = sorted(self._rounds())
        past = [number for number in rounds if number <= round]
        for number in [*past[:-KEPT], *rounds[len(past) :]]:
            self._path(number).unlink(missing_ok=True)

    def _rounds(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        names = (path.name.removesuffix(SUFFIX) for path in self._folder.glob(f"*{SUFFIX}"))
        return [int(name) for name in names if name.removeprefix("-").isdecimal()]

    def _path(self, round: int) -> Path:
        return self._folder / f"{round}{SUFFIX}"


def _hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]
