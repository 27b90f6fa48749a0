"""Tests of hedgerow.tasks.table: declared scaling, held-out records by content, and every bad file."""

import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.csv  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured
from hedgerow.tasks.table import Table, inspect_table, table
from hedgerow.tasks.tableprofile import outward

HEADER = "age,sex,ward,outcome"
ROWS = [
    f"{20 + number % 60},{'fm'[number % 2]},{'abc'[number % 3]},{['no', 'yes'][number % 5 == 0]}"
    for number in range(90)
]


def write(folder: Path, rows: Sequence[str] = ROWS, *, header: str = HEADER, name: str = "patients.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def patients(
    path: Path,
    *,
    labels: Sequence[str | int] = ("no", "yes"),
    ranges: Mapping[str, tuple[float, float]] | None = None,
    categories: Mapping[str, Sequence[str | int]] | None = None,
    ignore: Sequence[str] = (),
    missing: str = "refuse",
    test_fraction: float = 0.2,
    site: str | None = "ward",
) -> Table:
    return table(
        path,
        label="outcome",
        labels=labels,
        site=site,
        ranges={"age": (20, 80)} if ranges is None else ranges,
        categories={"sex": ("f", "m")} if categories is None else categories,
        ignore=ignore,
        missing=missing,
        test_fraction=test_fraction,
    )


def refusal(task: Table) -> Misconfigured:
    with pytest.raises(Misconfigured) as refused:
        task.pool()
    return refused.value


def rows_of(task: Table) -> dict[str, list[bytes]]:
    """What is trained on and what is held out, as sorted bytes."""
    pool = task.pool()
    return {
        name: sorted(x.tobytes() + y.tobytes() for x, y in zip(part.x, part.y, strict=True))
        for name, part in (("train", pool.train), ("test", pool.test))
    }


def test_numbers_are_scaled_by_the_declared_range_and_clipped_beyond_it(tmp_path: Path) -> None:
    rows = ["0,f,a,no", "20,f,a,yes", "50,f,a,no", "80,f,a,no", "999,f,a,no"]
    task = patients(write(tmp_path, rows), test_fraction=0)
    assert task.pool().train.x[:, 0].tolist() == [-1, -1, 0, 1, 1]
    assert task.pool().train.x.dtype == np.float32


def test_one_record_does_not_change_how_another_is_scaled(tmp_path: Path) -> None:
    alone = patients(write(tmp_path), test_fraction=0).pool().train.x
    other = patients(write(tmp_path, [*ROWS, "1e9,f,a,no"], name="more.csv"), test_fraction=0).pool().train.x
    assert np.array_equal(alone, other[:-1])


def test_words_become_one_feature_each_and_an_unknown_word_is_all_zeros(tmp_path: Path) -> None:
    task = patients(write(tmp_path, ["20,f,a,no", "20,m,a,yes", "20,x,a,no"]), test_fraction=0)
    assert task.features == ("age", "sex=f", "sex=m")
    assert task.pool().train.x[:, 1:].tolist() == [[1, 0], [0, 1], [0, 0]]


def test_numbers_can_be_declared_as_categories_and_as_labels(tmp_path: Path) -> None:
    path = write(tmp_path, ["20,1,a,0", "30,2.0,a,1", "40,1,a,1"])
    task = patients(path, labels=(0, 1), categories={"sex": (1, 2)}, test_fraction=0)
    assert task.pool().train.x[:, 1:].tolist() == [[1, 0], [0, 1], [1, 0]]
    assert task.pool().train.y.tolist() == [0, 1, 1]


def test_the_model_has_an_input_per_feature_and_an_output_per_label(tmp_path: Path) -> None:
    import torch

    task = patients(write(tmp_path))
    assert tuple(task.model()(torch.from_numpy(task.pool().train.x)).shape) == (len(task.pool().train), 2)


def test_the_site_column_names_the_site_of_each_training_record(tmp_path: Path) -> None:
    task = patients(write(tmp_path))
    assert task.column is not None and len(task.column) == len(task.pool().train)
    assert set(task.column.tolist()) == {"a", "b", "c"}
    assert patients(write(tmp_path), site=None, ignore=("ward",)).column is None


@settings(max_examples=20)
@given(order=st.randoms(use_true_random=False))
def test_what_is_held_out_does_not_depend_on_the_order_of_the_rows(
    tmp_path_factory: pytest.TempPathFactory, order: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("orders")
    shuffled = list(ROWS)
    order.shuffle(shuffled)
    assert rows_of(patients(write(folder, shuffled))) == rows_of(patients(write(folder, name="sorted.csv")))


@settings(max_examples=20)
@given(kept=st.sets(st.integers(0, 89), min_size=60))
def test_removing_records_moves_no_other_record_between_training_and_test(
    tmp_path_factory: pytest.TempPathFactory, kept: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("fewer")
    every = rows_of(patients(write(folder)))
    some = rows_of(patients(write(folder, [ROWS[row] for row in sorted(kept)], name="fewer.csv")))
    assert set(some["train"]) <= set(every["train"]) and set(some["test"]) <= set(every["test"])


def test_the_order_of_the_declarations_does_not_change_what_is_held_out(tmp_path: Path) -> None:
    rows = [f"{number},{number * 7 % 100},a,{['no', 'yes'][number % 2]}" for number in range(90)]
    path = write(tmp_path, rows)
    one = patients(path, ranges={"age": (0, 90), "sex": (0, 100)}, categories={})
    other = patients(path, ranges={"sex": (0, 100), "age": (0, 90)}, categories={})
    assert np.array_equal(one.pool().test.x, other.pool().test.x[:, ::-1])


def test_about_the_fraction_is_held_out_and_copies_stay_on_one_side(tmp_path: Path) -> None:
    rows = [f"{number / 10},f,a,{['no', 'yes'][number % 2]}" for number in range(2000)]
    task = patients(write(tmp_path, rows + rows))
    held = len(task.pool().test) / 4000
    assert 0.16 < held < 0.24  # four standard deviations of a binomial draw
    parts = rows_of(patients(write(tmp_path, rows + rows), ranges={"age": (0, 200)}))
    assert not set(parts["train"]) & set(parts["test"])


def test_parquet_equals_csv(tmp_path: Path) -> None:
    path = write(tmp_path)
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(path), tmp_path / "patients.parquet")
    one, other = patients(path), patients(tmp_path / "patients.parquet")
    assert np.array_equal(one.pool().train.x, other.pool().train.x)
    assert np.array_equal(one.pool().test.y, other.pool().test.y)
    assert one.column is not None and other.column is not None and one.column.tolist() == other.column.tolist()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_other_separators_and_a_byte_order_mark_are_understood(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "patients.csv"
    path.write_text("\ufeff" + "\n".join([HEADER, *ROWS]).replace(",", separator), encoding="utf-8")
    assert rows_of(patients(path)) == rows_of(patients(write(tmp_path, name="plain.csv")))


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    write(tmp_path)
    error = refusal(patients(tmp_path / "pateints.csv"))
    assert error.code == "E120" and "did you mean 'patients.csv'" in error.hint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b""),
        ("a.csv", b"age,sex,ward,outcome\n"),
        ("a.csv", b"just one column\n1\n"),
        ("a.csv", "age,sex,ward,outcome\n20,m\xe4nnlich,a,no\n".encode("latin-1")),
        ("a.csv", "\xe4ge,sex,ward,outcome\n20,m,a,no\n".encode("latin-1")),
        ("a.xlsx", b"PK\x03\x04"),
        ("a.parquet", b"not parquet at all"),
        ("a.parquet", b""),
    ],
)
def test_what_is_not_a_table_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    error = refusal(patients(tmp_path / name))
    assert error.code == "E120" and name in error.place


def test_a_folder_is_not_a_table(tmp_path: Path) -> None:
    assert refusal(patients(tmp_path)).code == "E120"


def test_a_ragged_line_is_named_without_repeating_the_record(tmp_path: Path) -> None:
    error = refusal(patients(write(tmp_path, [ROWS[0], "", "31,f,a,secret,no"])))
    assert (error.code, error.place) == ("E120", "patients.csv:4")
    assert "secret" not in str(error)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    error = refusal(patients(write(tmp_path)))
    assert error.code == "E107" and "pip install 'hedgerow[full]'" in error.hint


def test_a_missing_label_or_site_column_names_the_nearest(tmp_path: Path) -> None:
    error = refusal(patients(write(tmp_path, header="age,sex,ward,Outcome")))
    assert error.code == "E121" and "did you mean 'Outcome'" in error.hint
    error = refusal(patients(write(tmp_path), site="wards"))
    assert error.code == "E121" and "site column 'wards'" in error.message and "did you mean 'ward'" in error.hint


def test_a_text_column_that_was_not_declared_is_refused(tmp_path: Path) -> None:
    error = refusal(patients(write(tmp_path), categories={}))
    assert (error.code, error.place) == ("E122", "patients.csv, column 'sex'")
    assert "categories" in error.hint and "ignore" in error.hint


def test_text_in_a_column_with_a_range_is_refused_with_its_line(tmp_path: Path) -> None:
    error = refusal(patients(write(tmp_path, [*ROWS, "old,f,a,no"])))
    assert (error.code, error.place) == ("E122", "patients.csv:92") and "'old'" in error.message
    error = refusal(patients(write(tmp_path, ['20,"f\nm",a,no', "old,f,a,no"])))
    assert error.place == "patients.csv:4"  # the record before it has two lines
    error = refusal(patients(write(tmp_path, ['"3,5",f,a,no'])))
    assert "decimal points" in error.hint


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    assert refusal(patients(write(tmp_path, header="age,age,ward,outcome"))).code == "E122"


@pytest.mark.parametrize("gap", ["", "NaN", "inf"])
def test_missing_values_are_refused_by_default_with_count_line_and_the_way_on(tmp_path: Path, gap: str) -> None:
    rows = [*ROWS[:3], "", f"{gap},f,a,no", *ROWS[3:], f"{gap},m,b,no"]
    error = refusal(patients(write(tmp_path, rows)))
    assert error.code == "E123" and error.message.startswith("2 records")
    assert error.place == "patients.csv:6"  # after the header, three records and an empty line
    assert 'missing="drop"' in error.hint and 'missing="zero"' in error.hint


def test_missing_values_can_be_dropped_or_put_in_the_middle(tmp_path: Path) -> None:
    rows = [*ROWS[:10], ",f,a,no", "30,,a,no"]
    dropped = patients(write(tmp_path, rows), missing="drop", test_fraction=0).pool().train
    filled = patients(write(tmp_path, rows), missing="zero", test_fraction=0).pool().train
    assert len(dropped) == 10 and len(filled) == 12
    assert filled.x[10].tolist() == [0, 1, 0] and filled.x[11, 1:].tolist() == [0, 0]


def test_a_missing_label_is_never_guessed(tmp_path: Path) -> None:
    error = refusal(patients(write(tmp_path, [*ROWS, "30,f,a,"]), missing="zero"))
    assert error.code == "E123" and "zero" not in error.hint


def test_a_label_that_is_not_declared_is_refused_with_its_line(tmp_path: Path) -> None:
    error = refusal(patients(write(tmp_path, [*ROWS, "30,f,a,maybe"])))
    assert (error.code, error.place) == ("E124", "patients.csv:92")


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    assert refusal(patients(write(tmp_path, [row for row in ROWS if row.endswith("no")]))).code == "E122"


def test_a_site_whose_records_are_all_held_out_is_named(tmp_path: Path) -> None:
    lone = [f"{age},f,lone-{age},no" for age in range(20, 60)]  # 40 sites of one record: about half lose it
    error = refusal(patients(write(tmp_path, [*ROWS, *lone]), test_fraction=0.5))
    assert error.code == "E125" and "'lone-" in error.message and "sites are like this" in error.message
    assert len(patients(write(tmp_path, [*ROWS, *lone]), test_fraction=0).pool().train) == 130


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("E104", {"labels": ()}),
        ("E104", {"ranges": {}, "categories": {}}),
        ("E103", {"labels": ("no",)}),
        ("E103", {"labels": ("no", "no")}),
        ("E103", {"categories": {"sex": ()}}),
        ("E103", {"ranges": {"age": (3, 3)}}),
        ("E103", {"ranges": {"age": (0, float("inf"))}}),
        ("E103", {"missing": "guess"}),
        ("E103", {"test_fraction": 1.0}),
        ("E105", {"ignore": ("age",)}),
        ("E105", {"site": "outcome"}),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused_before_the_file_is_read(
    tmp_path: Path, code: str, change: dict[str, object]
) -> None:
    with pytest.raises(Misconfigured) as refused:
        patients(tmp_path / "absent.csv", **change)  # type: ignore[arg-type]
    assert refused.value.code == code


@given(
    low=st.floats(-1e12, 1e12, allow_subnormal=False),
    more=st.floats(0, 1e12, allow_subnormal=False),
)
def test_a_suggested_range_contains_the_values_and_has_one_digit_at_each_end(low: float, more: float) -> None:
    start, end = outward(low, low + more)
    assert start <= low and low + more <= end
    assert float(f"{start:.0e}") == start and float(f"{end:.0e}") == end


def test_the_profile_says_what_each_column_is(tmp_path: Path) -> None:
    rows = [f"{number},2020-01-{number % 28 + 1:02d},,7,note {number % 70},{row}" for number, row in enumerate(ROWS)]
    profile = inspect_table(
        write(tmp_path, rows, header=f"visit,day,void,same,note,{HEADER}"), label="outcome", site="ward"
    )
    assert profile.ranges == {"age": (20.0, 80.0)} and profile.categories == {"sex": ("f", "m")}
    assert list(profile.left_out) == ["visit", "day", "void", "same", "note"]
    assert "identifier" in profile.left_out["visit"] and "date" in profile.left_out["day"]
    assert "70 different words" in profile.left_out["note"]
    assert profile.labels == {"no": 72, "yes": 18} and profile.sites == {"a": 30, "b": 30, "c": 30}


def test_an_identifier_that_repeats_is_reported(tmp_path: Path) -> None:
    rows = [f"{number // 2},{row}" for number, row in enumerate(ROWS)]
    profile = inspect_table(write(tmp_path, rows, header=f"patient_id,{HEADER}"), label="outcome")
    assert profile.repeated == ("patient_id",)


def test_an_ordinary_score_is_not_an_identifier(tmp_path: Path) -> None:
    rows = [f"{number % 6},{row}" for number, row in enumerate(ROWS)]
    profile = inspect_table(write(tmp_path, rows, header=f"charlson_index,{HEADER}"), label="outcome")
    assert "charlson_index" in profile.ranges


def test_a_continuous_label_says_that_regression_is_not_there_yet(tmp_path: Path) -> None:
    for values in ([number / 7 for number in range(90)], list(range(90))):
        rows = [f"{row.rsplit(',', 1)[0]},{value}" for row, value in zip(ROWS, values, strict=True)]
        with pytest.raises(Misconfigured, match="regression") as refused:
            inspect_table(write(tmp_path, rows), label="outcome")
        assert refused.value.code == "E122" and "classes" in refused.value.hint


def test_a_label_without_a_single_value_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.parquet"
    columns = {"age": [1.0, 2.0], "void": [None, None], "nan": [np.nan, np.nan]}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    for label in ("void", "nan"):
        with pytest.raises(Misconfigured) as refused:
            inspect_table(path, label=label)
        assert refused.value.code == "E122"


def test_true_and_false_are_labels_and_numbers(tmp_path: Path) -> None:
    rows = [row.replace("yes", "True").replace("no", "False") for row in ROWS]
    profile = inspect_table(write(tmp_path, rows), label="outcome")
    assert profile.labels == {"false": 72, "true": 18}
    assert len(patients(write(tmp_path, rows), labels=("false", "true"), test_fraction=0).pool().train) == 90
