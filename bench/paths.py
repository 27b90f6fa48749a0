"""The cohort engine's paths beside one by one: milliseconds a round for dense networks and convolutions of three sizes.

    python bench/paths.py                  # about four minutes
    python bench/paths.py --private        # the same with DP-SGD
    python bench/paths.py --workers 1
    python bench/paths.py --device cuda    # layers and vmap on a GPU, one by one on the CPU

50 sites of about 55 records each, one local epoch. Every path gives the same updates to float precision, which the
script checks; it shows from which size of convolution on one by one wins.
"""

import argparse
import contextlib
import time

import numpy as np
import torch

from hedgerow.job import Job
from hedgerow.scenario import Scenario
from hedgerow.settings import Scalar
from hedgerow.simulations import CohortTrainer
from hedgerow.simulations.cohort import kernel
from hedgerow.simulations.cohort.choosing import PATHS
from hedgerow.simulations.cohort.device import device_of, kind_told
from hedgerow.simulations.sites import prepare
from hedgerow.task import Split
from hedgerow.tasks import ArrayTask, mlp, small_cnn
from hedgerow.update import Layout

SITES, RECORDS, CLASSES = 50, 3000, 10


def images(size: int, network: str) -> ArrayTask:
    """Random images: what is measured does not depend on what they show."""
    rng = np.random.default_rng(0)
    x = rng.random((RECORDS, 1, size, size), np.float32)
    records = Split(x, rng.integers(0, CLASSES, RECORDS))
    return ArrayTask(
        records,
        name=f"{network} {size} x {size}",
        labels=tuple("0123456789"),
        test_fraction=0.1,
        model=lambda: mlp(size * size, (128,), CLASSES) if network == "mlp" else small_cnn(1, size, CLASSES),
    )


def measure(
    task: ArrayTask, job: Job, path: str, workers: int | None, rounds: int, device: str
) -> tuple[float, np.ndarray] | None:
    """Milliseconds of the fastest round and the updates, or nothing where the path cannot train this."""
    split, _, sites = prepare(task, Scenario(sites=SITES, split="iid"))
    torch.manual_seed(0)
    model = Layout.of(split.model()).flatten(split.model())
    with contextlib.closing(
        CohortTrainer(job, split, sites, model=model, seed=0, workers=workers, path=path, device=device)
    ) as trainer:
        if trainer.chosen.path != path or kind_told(trainer.chosen.device) != device:
            print(f"  {path:12} not possible: {trainer.chosen.reason or trainer.chosen.device}")
            return None
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            rows, failed = trainer.train(model, range(SITES), round=1)
            seconds.append(time.perf_counter() - start)
            assert not failed
        return 1e3 * min(seconds), rows.copy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parsed = parser.parse_args()
    print(f"device {device_of(parsed.device).name}")
    torch.set_num_threads(1)
    privacy: dict[str, Scalar] = (
        {"privacy.unit": "record", "privacy.epsilon": 8.0, "privacy.delta": 1e-3}
        if parsed.private
        else {"privacy.unit": "none"}
    )
    job = Job.from_flat({"rounds": 50, "local.batch": 16, "local.momentum": 0.9, "secure.mode": "off", **privacy})
    for network, size in (("mlp", 8), ("mlp", 28), ("cnn", 8), ("cnn", 14), ("cnn", 20), ("cnn", 28)):
        task = images(size, network)
        print(task.name)
        paths = PATHS if parsed.device == "cpu" else ("layers", "vmap", "one-by-one")
        slow: tuple[float, np.ndarray] | None = None
        for path in reversed(paths):
            if path == "kernel" and not kernel.available():
                continue
            alone = path == "one-by-one"
            device = "cpu" if alone else parsed.device
            found = measure(task, job, path, parsed.workers, 2 if alone else 4, device)
            if found is None:
                continue
            slow = found if slow is None else slow
            away = np.linalg.norm(found[1] - slow[1]) / np.linalg.norm(slow[1])
            assert away < 1e-4, "the paths disagree, so their times do not compare"
            print(f"  {path:12} {found[0]:8.1f} ms   {slow[0] / found[0]:5.1f} x one by one")


if __name__ == "__main__":
    main()
