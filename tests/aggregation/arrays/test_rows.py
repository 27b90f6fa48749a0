import subprocess
import sys

import numpy as np
import pytest
import torch

from hedgerow.aggregation import mean, median
from hedgerow.aggregation.arrays.rows import count
from hedgerow.errors import Misconfigured


@pytest.mark.parametrize("X", [np.ones((3, 2), np.int64), np.ones((3, 2), np.float16), np.ones((3, 2), bool)])
def test_other_dtypes_never_enter_a_distance(X: "np.ndarray[tuple[int, int], np.dtype[np.floating]]") -> None:
    with pytest.raises(Misconfigured, match="E102"):
        median(X)
    with pytest.raises(Misconfigured, match="E102"):
        median(torch.from_numpy(np.asarray(X)))


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (3, 0)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(Misconfigured, match="E126"):
        mean(np.ones(shape))


def test_no_rows_are_too_few() -> None:
    with pytest.raises(Misconfigured, match="needs at least 1 rows, and 0 arrived"):
        mean(np.ones((0, 3)))


@pytest.mark.parametrize(
    ("f", "n", "expected"), [(2, 11, 2), (np.int64(2), 11, 2), (0.2, 11, 2), (0.29, 100, 29), (0.29, 10, 2), (0, 3, 0)]
)
def test_f_is_a_count_or_a_fraction(f: float, n: int, expected: int) -> None:
    assert count(f, n) == expected


@pytest.mark.parametrize("f", [-1, -0.1, 1.0, 2.0, np.nan, True, "2", None])
def test_anything_else_is_no_f(f: float) -> None:
    with pytest.raises(Misconfigured, match="E102|E103"):
        count(f, 11)


def test_a_tensor_in_training_is_read_and_not_followed() -> None:
    X = torch.ones((3, 2), requires_grad=True)
    assert not mean(X).requires_grad


def test_loading_the_rules_loads_numpy_and_nothing_heavy() -> None:
    code = (
        "import hedgerow.aggregation, sys; print(*({'torch', 'scipy', 'flwr', 'opacus', 'sklearn'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
