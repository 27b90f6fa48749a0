import importlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from hedgerow import tasks
from hedgerow.errors import Misconfigured
from hedgerow.task import PooledTask

digits_file = importlib.import_module("hedgerow.tasks.digits")  # the package's `digits` is the function

READY = (tasks.digits, tasks.breast_cancer)


def accuracy_after(task: PooledTask, passes: int) -> float:
    """Plain SGD on all training records, batches of 32, learning rate 0.1."""
    torch.manual_seed(0)
    model, data = task.model(), task.pool()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.from_numpy(data.train.x), torch.from_numpy(data.train.y)
    for _ in range(passes):
        order = torch.randperm(len(y))
        for start in range(0, len(y), 32):
            rows = order[start : start + 32]
            optimizer.zero_grad()
            torch.autograd.backward(task.loss(model(x[rows]), y[rows]).mean())
            optimizer.step()
    with torch.no_grad():
        return task.metrics(model(torch.from_numpy(data.test.x)), torch.from_numpy(data.test.y))["accuracy"]


def test_the_tasks_can_be_learned() -> None:
    assert accuracy_after(tasks.digits(), 15) > 0.92
    assert accuracy_after(tasks.breast_cancer(), 15) > 0.92


def test_digits_are_the_real_ones_with_pixels_from_0_to_1() -> None:
    pool = tasks.digits().pool()
    assert pool.train.x.shape[1:] == pool.test.x.shape[1:] == (64,)
    assert len(pool.train) + len(pool.test) == 1797
    values = np.unique(np.concatenate([pool.train.x, pool.test.x]))
    assert np.array_equal(values, np.arange(17) / 16)
    assert tasks.digits().labels == tuple("0123456789")


@pytest.mark.parametrize("moved", [False, True])
def test_digits_are_those_that_scikit_learn_gives_even_if_it_moves_their_file(
    moved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # scikit-learn ships no types

    if moved:
        monkeypatch.setattr("pathlib.Path.exists", lambda path: False)
    images, labels = digits_file._read()
    assert np.array_equal(images, load_digits().data) and np.array_equal(labels, load_digits().target)


def test_breast_cancer_is_scaled_to_minus_one_to_one() -> None:
    pool = tasks.breast_cancer().pool()
    both = np.concatenate([pool.train.x, pool.test.x])
    assert both.shape == (569, 30) and both.min() == -1 and both.max() == 1
    assert tasks.breast_cancer().labels == ("malignant", "benign")
    malignant = np.concatenate([pool.train.y, pool.test.y]) == 0
    assert np.count_nonzero(malignant) == 212  # the class distribution that the data set's description states


def test_clipping_to_the_published_ranges_moves_no_record_by_more_than_their_rounding() -> None:
    from sklearn.datasets import load_breast_cancer

    from hedgerow.tasks.breast_cancer import RANGES

    x = load_breast_cancer(return_X_y=True)[0]
    low, high = np.array(RANGES).T
    outside = np.maximum(low - x, x - high) / (high - low)
    assert outside.max() < 0.02


@pytest.mark.parametrize("task", READY)
def test_every_label_is_held_out_in_its_proportion(task: type[PooledTask]) -> None:
    pool = task().pool()
    held = np.bincount(pool.test.y)
    assert np.all(np.abs(held - 0.2 * (held + np.bincount(pool.train.y))) <= 0.5)


@pytest.mark.parametrize("task", READY)
def test_the_records_are_read_once_per_process(task: type[PooledTask]) -> None:
    assert task().pool() is task().pool()


def test_the_fraction_and_the_width_can_be_chosen() -> None:
    task = tasks.digits(hidden=7, test_fraction=0)
    assert len(task.pool().test) == 0 and len(task.pool().train) == 1797
    assert [tuple(p.shape) for p in task.model().parameters()] == [(7, 64), (7,), (10, 7), (10,)]


@pytest.mark.parametrize("make", READY)
def test_settings_out_of_range_are_refused_at_once(make: type[PooledTask]) -> None:
    for wrong in ({"hidden": -1}, {"test_fraction": 1.0}, {"test_fraction": -0.1}, {"test_fraction": float("nan")}):
        with pytest.raises(Misconfigured, match="E103"):
            make(**wrong)


@pytest.mark.parametrize("task", ["digits", "breast_cancer"])
def test_missing_scikit_learn_is_named_with_what_brings_it(task: str) -> None:
    code = f"""
import sys
sys.modules["sklearn"] = None
sys.modules["sklearn.datasets"] = None
from hedgerow import tasks
from hedgerow.errors import Misconfigured
try:
    tasks.{task}().pool()
except Misconfigured as error:
    sys.exit(not (error.code == "E107" and "pip install 'hedgerow[full]'" in error.hint))
sys.exit(2)
"""
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0


def test_importing_the_tasks_and_making_one_loads_no_heavy_library() -> None:
    code = """
import sys
from hedgerow import tasks
tasks.digits()
heavy = {"torch", "sklearn", "scipy", "PIL", "opacus", "flwr", "pandas", "pyarrow"} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
