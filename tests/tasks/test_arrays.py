import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured
from hedgerow.tasks import arrays, hold_out

X = np.arange(40, dtype=np.float64).reshape(20, 2)
Y = np.arange(20) % 2


def saved(folder: Path, **found: Any) -> Path:
    np.savez(folder / "study.npz", **found)
    return folder / "study.npz"


def refused(path: Path, code: str, **how: Any) -> Misconfigured:
    with pytest.raises(Misconfigured) as caught:
        arrays(path, **how)
    assert caught.value.code == code, caught.value
    assert caught.value.hint or code == "E103", caught.value
    return caught.value


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(-3, 5), max_size=200), st.floats(0, 0.999))
def test_held_out_rows_and_the_others_are_all_rows_in_each_labels_proportion(y: list[int], fraction: float) -> None:
    labels = np.array(y, np.int64)
    train, test = hold_out(labels, fraction)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(labels)))
    for label in np.unique(labels):
        count = np.count_nonzero(labels == label)
        held = np.count_nonzero(labels[test] == label)
        assert held < count and (abs(held - fraction * count) <= 0.5 + 1e-9 or held == count - 1)


def splitmix64(count: int) -> list[int]:
    """The generator's first numbers from seed 0, in plain integers."""
    numbers = []
    for step in range(1, count + 1):
        z = step * 0x9E3779B97F4A7C15 % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        numbers.append(z ^ (z >> 31))
    return numbers


def test_the_held_out_rows_are_those_that_the_published_generator_ranks_first() -> None:
    rank = splitmix64(1000)
    assert rank[:3] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]  # the generator's known vector
    first = sorted(range(1000), key=rank.__getitem__)[:250]
    assert hold_out(np.zeros(1000, np.int64), 0.25)[1].tolist() == sorted(first)


def test_held_out_rows_are_no_pattern_of_the_order() -> None:
    test = hold_out(np.zeros(10_000, np.int64), 0.5)[1]
    runs = np.count_nonzero(np.diff(np.isin(np.arange(10_000), test).astype(int)))
    assert abs(runs - 5000) < 250 and abs(test.mean() - 5000) < 250  # five standard deviations each, or more


def test_an_npz_becomes_a_task(tmp_path: Path) -> None:
    task = arrays(saved(tmp_path, x=X, y=Y), scale=2)
    pool = task.pool()
    assert (task.name, task.labels, task.column) == ("study", ("0", "1"), None)
    assert (len(pool.train), len(pool.test)) == (16, 4)
    assert pool.train.x.dtype == np.float32 and pool.train.y.dtype == np.int64
    rows = hold_out(Y, 0.2)[0]
    assert np.array_equal(pool.train.x, (X[rows] / 2).astype(np.float32)) and np.array_equal(pool.train.y, Y[rows])


def test_a_folder_of_npy_files_is_the_same_task(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", Y)
    one, other = arrays(folder).pool(), arrays(saved(tmp_path, x=X, y=Y)).pool()
    assert np.array_equal(one.train.x, other.train.x) and np.array_equal(one.test.y, other.test.y)


def test_arrays_may_have_other_names_and_label_names(tmp_path: Path) -> None:
    path = saved(tmp_path, scans=X, grade=Y)
    assert arrays(path, "scans", "grade", labels=("benign", "malignant")).labels == ("benign", "malignant")


def test_the_site_column_follows_the_training_records(tmp_path: Path) -> None:
    where = np.array([f"clinic {row * row % 3}" for row in range(20)])
    task = arrays(saved(tmp_path, x=X, y=Y, site=where), site="site")
    assert task.column is not None
    assert task.column.tolist() == [where[int(value) // 2] for value in task.pool().train.x[:, 0]]


def test_a_site_whose_records_are_all_held_out_is_refused(tmp_path: Path) -> None:
    where = np.full(20, "large")
    where[hold_out(Y, 0.2)[1][0]] = "tiny"
    assert "'tiny'" in refused(saved(tmp_path, x=X, y=Y, site=where), "E125", site="site").message


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((20, 3), torch.nn.Linear), ((20, 8, 8), torch.nn.Linear), ((20, 1, 8, 8), torch.nn.Conv2d)],
)
def test_the_default_model_fits_the_shape(tmp_path: Path, shape: tuple[int, ...], kind: type) -> None:
    task = arrays(saved(tmp_path, x=np.zeros(shape), y=Y))
    model = task.model()
    assert model(torch.from_numpy(task.pool().train.x)).shape == (len(task.pool().train), 2)
    assert isinstance(next(m for m in model.modules() if list(m.parameters(recurse=False))), kind)


def test_ones_own_model_is_taken(tmp_path: Path) -> None:
    mine = torch.nn.Linear(2, 2)
    assert arrays(saved(tmp_path, x=X, y=Y), model=lambda: mine).model() is mine


def test_whole_numbers_and_truth_values_are_fine(tmp_path: Path) -> None:
    task = arrays(saved(tmp_path, x=np.full((20, 2), 255, np.uint8), y=Y.astype(bool)), scale=255)
    assert np.all(task.pool().train.x == 1) and set(task.pool().train.y) == {0, 1}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "there is no nothing.npz" in refused(tmp_path / "nothing.npz", "E120").message


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"a,b\n1,2\n", pickle.dumps({"x": 1})])
def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.npz"
    path.write_bytes(content)
    assert refused(path, "E120").place == str(path)


def test_a_damaged_npz_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, x=X, y=Y)
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF  # inside the first array's values: the archive's checksum finds it
    path.write_bytes(content)
    refused(path, "E120")


def test_a_single_npy_file_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    refused(tmp_path / "x.npy", "E120")


def test_a_missing_array_is_named_with_those_there_are(tmp_path: Path) -> None:
    error = refused(saved(tmp_path, x=X, target=Y), "E121")
    assert "'y'" in error.message and "target" in error.hint
    assert "'ward'" in refused(saved(tmp_path, x=X, y=Y), "E121", site="ward").message
    refused(tmp_path, "E121")  # a folder without x.npy


def test_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    error = refused(saved(tmp_path, x=X, y=np.array([None] * 20, object)), "E122")
    assert error.place == "study.npz: y"
    np.save(tmp_path / "x.npy", np.array([None] * 20, object), allow_pickle=True)
    refused(tmp_path, "E122")


@pytest.mark.parametrize("x", [X.astype(str), X.astype(complex), X.astype("datetime64[s]")])
def test_records_that_are_no_numbers_are_refused(tmp_path: Path, x: np.ndarray) -> None:
    refused(saved(tmp_path, x=x, y=Y), "E122")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_a_value_that_is_no_finite_float32_is_placed(tmp_path: Path, value: float) -> None:
    x = X.copy()
    x[7, 1] = value
    error = refused(saved(tmp_path, x=x, y=Y), "E123")
    assert error.place == "study.npz: x[7]" and error.message.startswith("1 record")


@pytest.mark.parametrize(
    ("y", "code"),
    [
        (Y - 1, "E124"),
        (Y * 2, "E124"),
        (Y + 1, "E124"),
        (np.zeros(20, np.int64), "E124"),
        (Y.astype(float), "E124"),
        (np.where(Y, 1.0, np.nan), "E123"),
        (np.where(Y, "ill", "well"), "E124"),
        (np.eye(2)[Y], "E126"),
        (Y[:, None], "E126"),
        (np.int64(1), "E126"),
        (Y[:19], "E126"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(tmp_path: Path, y: np.ndarray, code: str) -> None:
    assert "study.npz" in refused(saved(tmp_path, x=X, y=y), code).place


def test_a_gap_in_the_labels_is_named(tmp_path: Path) -> None:
    assert "no record has label 1" in refused(saved(tmp_path, x=X, y=Y * 2), "E124").message


def test_label_names_must_be_as_many_as_the_labels(tmp_path: Path) -> None:
    assert "3 label names for 2 labels" in refused(saved(tmp_path, x=X, y=Y), "E124", labels=("a", "b", "c")).message


@pytest.mark.parametrize("shape", [(20,), (20, 0), ()])
def test_records_that_are_no_rows_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    refused(saved(tmp_path, x=np.zeros(shape), y=Y), "E126")


def test_no_records_are_refused(tmp_path: Path) -> None:
    refused(saved(tmp_path, x=X[:0], y=Y[:0]), "E125")


def test_images_with_channels_last_are_refused_unless_a_model_is_given(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.zeros((20, 8, 8, 3)), y=Y)
    assert "transpose" in refused(path, "E126").hint
    assert arrays(path, model=lambda: torch.nn.Flatten()).pool().train.x.shape == (16, 8, 8, 3)


@pytest.mark.parametrize("site", [np.zeros((20, 2), int), np.array([b"a"] * 20), np.zeros(20)])
def test_a_site_array_that_names_no_sites_is_refused(tmp_path: Path, site: np.ndarray) -> None:
    refused(saved(tmp_path, x=X, y=Y, site=site), "E122", site="site")


@pytest.mark.parametrize("how", [{"scale": 0}, {"scale": float("nan")}, {"test_fraction": 1}, {"test_fraction": -1}])
def test_settings_out_of_range_are_refused(tmp_path: Path, how: dict[str, float]) -> None:
    refused(saved(tmp_path, x=X, y=Y), "E103", **how)
