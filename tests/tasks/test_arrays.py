import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured
from hedgerow.tasks import arrays, hold_out, to_float32
from hedgerow.tasks.arrayfile import ArraySource, blocks

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


def folder(place: Path, **found: Any) -> Path:
    path = place / "big"
    path.mkdir(exist_ok=True)
    for name, values in found.items():
        np.save(path / f"{name}.npy", values)
    return path


def stored(x: np.ndarray) -> np.memmap:
    """The map that an array is a view of."""
    while not isinstance(x, np.memmap):
        assert isinstance(x.base, np.ndarray)
        x = x.base
    return x


F = X.astype(np.float32)


def test_mapped_records_stay_in_their_file_and_are_the_same_task(tmp_path: Path) -> None:
    where = np.array([f"clinic {row % 3}" for row in range(20)])
    path = folder(tmp_path, x=F, y=Y, site=where)
    task, loaded = arrays(path, site="site", mapped=True), arrays(path, site="site", mapped=False)
    pool, rows = task.pool(), task.training_rows()
    assert rows is not None and loaded.training_rows() is None
    assert stored(pool.train.x).mode == "r" and not pool.train.x.flags.writeable and pool.train.x.shape == (20, 2)
    assert np.array_equal(pool.train.x[rows], loaded.pool().train.x)
    assert np.array_equal(pool.train.y[rows], loaded.pool().train.y)
    assert np.array_equal(pool.test.x, loaded.pool().test.x) and np.array_equal(pool.test.y, loaded.pool().test.y)
    assert not np.shares_memory(pool.test.x, pool.train.x)
    assert task.column is not None and task.column.tolist() == where[rows].tolist()


def test_without_held_out_records_all_rows_are_for_the_sites(tmp_path: Path) -> None:
    task = arrays(folder(tmp_path, x=F, y=Y), mapped=True, test_fraction=0)
    assert task.training_rows() is None and len(task.pool().test) == 0


def test_large_float32_records_are_mapped_unless_asked_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder(tmp_path, x=F, y=Y)
    assert arrays(path).pool().train.x.flags.writeable  # in memory
    monkeypatch.setattr("hedgerow.tasks.arrayfile.LARGE", F.nbytes)
    stored(arrays(path).pool().train.x)
    assert arrays(path, mapped=False).pool().train.x.flags.writeable
    for other in ({"x": X}, {"x": np.asfortranarray(F)}):
        assert arrays(folder(tmp_path, **other)).pool().train.x.flags.writeable  # needs a copy, so it is loaded


def test_opening_and_taking_shares_holds_a_small_part_of_a_mapped_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((30_000, 256), dtype=np.float32)  # 31 MB
    path = folder(tmp_path, x=x, y=rng.integers(0, 3, len(x)))
    size = x.nbytes
    del x
    tracemalloc.start()
    try:
        task = arrays(path, mapped=True, test_fraction=0.01)
        for share in np.array_split(rng.permutation(30_000), 100):
            task.pool().train.take(share)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size / 2  # blocks of 8 MiB at most, and labels


def test_what_is_held_out_of_a_mapped_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hedgerow.tasks.arraytask.HELD_BYTES", F.nbytes // 10)
    path = folder(tmp_path, x=F, y=Y)
    task = arrays(path, mapped=True)
    rows = task.training_rows()
    assert rows is not None and np.array_equal(rows, hold_out(Y, 0.1)[0]) and len(task.pool().test) == 2
    assert len(arrays(path, mapped=False).pool().test) == 4


@pytest.mark.parametrize("mapped", [False, True])
def test_test_arrays_are_held_out_instead_of_a_fraction(tmp_path: Path, mapped: bool) -> None:
    path = folder(tmp_path, x=F, y=Y, x_test=F[:5] + 100, y_test=Y[:5])
    task = arrays(path, mapped=mapped)
    pool = task.pool()
    assert task.training_rows() is None and np.array_equal(pool.train.x, F)
    assert np.array_equal(pool.test.x, F[:5] + 100) and np.array_equal(pool.test.y, Y[:5])
    if mapped:
        assert stored(pool.test.x) is not stored(pool.train.x)
    assert refused(path, "E105", test_fraction=0.2).hint


def test_an_npz_may_have_test_arrays_too(tmp_path: Path) -> None:
    pool = arrays(saved(tmp_path, x=X, y=Y, x_test=X[:3] * 4, y_test=Y[:3]), scale=4).pool()
    assert np.array_equal(pool.test.x, F[:3]) and len(pool.train) == 20


@pytest.mark.parametrize(
    ("test", "code"),
    [
        ({"x_test": F[:4, :1], "y_test": Y[:4]}, "E126"),
        ({"x_test": F[:4], "y_test": Y[:4] + 1}, "E124"),
        ({"x_test": F[:4], "y_test": Y[:4] - 1}, "E124"),
        ({"x_test": F[:4], "y_test": Y[:3]}, "E126"),
        ({"x_test": F[:4] * np.nan, "y_test": Y[:4]}, "E123"),
        ({"x_test": F[:4]}, "E121"),
        ({"y_test": Y[:4]}, "E121"),
        ({"x_test": F[:0], "y_test": Y[:0]}, "E125"),
    ],
)
@pytest.mark.parametrize("mapped", [False, True])
def test_test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, test: dict[str, np.ndarray], code: str, mapped: bool
) -> None:
    refused(folder(tmp_path, x=F, y=Y, **test), code, mapped=mapped)


@pytest.mark.parametrize(
    ("x", "scale"),
    [(X, 1), (F, 2), (F.astype(np.uint8), 255), (F.astype(">f4"), 1), (np.asfortranarray(F), 1)],
)
def test_records_that_cannot_be_mapped_are_refused_with_the_command_that_converts(
    tmp_path: Path, x: np.ndarray, scale: float
) -> None:
    path = folder(tmp_path, x=x, y=Y)
    error = refused(path, "E122", mapped=True, scale=scale)
    assert "to_float32" in error.hint and error.place == "big: x"
    to_float32(path / "x.npy", path / "x-float32.npy", scale=scale)
    pool = arrays(path, "x-float32", mapped=True, test_fraction=0).pool()
    assert np.array_equal(pool.train.x, arrays(path, scale=scale, test_fraction=0).pool().train.x)


@pytest.mark.parametrize("mapped", [None, True])
def test_records_that_are_no_numbers_are_not_to_be_converted(tmp_path: Path, mapped: bool | None) -> None:
    assert "not numbers" in refused(folder(tmp_path, x=F.astype(str), y=Y), "E122", mapped=mapped).message


def test_an_archive_cannot_be_mapped(tmp_path: Path) -> None:
    assert "zipfile -e study.npz" in refused(saved(tmp_path, x=F, y=Y), "E122", mapped=True).hint


def test_a_mapped_value_that_is_not_finite_is_placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hedgerow.tasks.arrayfile.BLOCK", 24)
    x = F.copy()
    x[[13, 7], 1] = np.nan, np.inf
    error = refused(folder(tmp_path, x=x, y=Y), "E123", mapped=True)
    assert error.place == "big: x[7]" and error.message.startswith("2 records")


def test_a_mapped_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, x=F, y=Y)
    for kept in (-1, 200, 60, 0):
        (path / "x.npy").write_bytes((path / "x.npy").read_bytes()[:kept])
        refused(path, "E120", mapped=True)


def test_a_mapped_file_of_python_objects_is_never_unpickled(tmp_path: Path) -> None:
    path = folder(tmp_path, y=Y)
    np.save(path / "x.npy", np.array([[None]] * 20, object), allow_pickle=True)
    refused(path, "E122", mapped=True)


@pytest.mark.parametrize("damage", ["rewritten", "grown", "gone"])
def test_a_file_that_changed_since_it_was_opened_is_refused(tmp_path: Path, damage: str) -> None:
    path = folder(tmp_path, x=F, y=Y)
    task = arrays(path, mapped=True)
    file, before = path / "x.npy", (path / "x.npy").stat()
    task.pool()
    if damage == "gone":
        file.unlink()
    elif damage == "grown":
        with file.open("ab") as more:
            more.write(b"0")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        np.save(file, F + 1)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    for ask in (task.pool, task.held_out, lambda: pickle.loads(pickle.dumps(task))):
        with pytest.raises(Misconfigured) as caught:
            ask()
        assert caught.value.code == "E120" and "x.npy has changed" in caught.value.message


def test_a_pickled_task_holds_the_place_of_its_file_not_the_records(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((2000, 50), dtype=np.float32)
    path = folder(tmp_path, x=x, y=np.arange(2000) % 2, x_test=x[:600], y_test=np.arange(600) % 2)
    text = pickle.dumps(arrays(path, mapped=True))
    assert len(text) < x.nbytes / 5
    again = pickle.loads(text)
    assert np.array_equal(stored(again.pool().train.x), x) and np.array_equal(stored(again.pool().test.x), x[:600])
    loaded = pickle.loads(pickle.dumps(arrays(path, mapped=False)))
    assert np.array_equal(loaded.pool().train.x, x)


def test_converting_writes_whole_files_or_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(600, dtype=np.uint8).reshape(20, 30))
    target = tmp_path / "y.npy"
    to_float32(tmp_path / "x.npy", target, scale=255)
    assert np.array_equal(np.load(target), np.load(tmp_path / "x.npy") / np.float32(255))
    assert np.load(target).dtype == np.float32
    np.save(tmp_path / "words.npy", np.array(["a"]))
    for source, scale, code in (("words", 1, "E122"), ("none", 1, "E120"), ("x", 0, "E103")):
        with pytest.raises(Misconfigured) as caught:
            to_float32(tmp_path / f"{source}.npy", tmp_path / "z.npy", scale=scale)
        assert caught.value.code == code
    assert sorted(file.name for file in tmp_path.iterdir()) == ["words.npy", "x.npy", "y.npy"]


@given(st.integers(0, 50), st.integers(0, 5), st.integers(1, 200))
def test_blocks_are_all_rows_once_and_small(rows: int, features: int, size: int) -> None:
    x = np.zeros((rows, features), np.float32)
    parts = list(blocks(x, size))
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(rows))
    assert all(part.stop - part.start == 1 or x[part].nbytes <= size for part in parts)


def test_a_source_says_what_it_holds(tmp_path: Path) -> None:
    assert ArraySource.open(folder(tmp_path, x=F, y=Y)).names == ("x", "y")
    assert ArraySource.open(saved(tmp_path, x=F, z=Y)).names == ("x", "z")
