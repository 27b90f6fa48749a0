import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from hedgerow.aggregation import NNM, ClipNorms, GeometricMedian, Krum, Mean, Median, Rule, TrimmedMean, aggregate
from hedgerow.aggregation.arrays.rows import as_table, lengths
from hedgerow.aggregation.arrays.table import InMemory, Layered, Passes, span_width
from hedgerow.aggregation.arrays.threads import WORTH
from hedgerow.errors import Exhausted, Misconfigured

Rows = npt.NDArray[np.floating]
RULES: list[Rule] = [
    Mean(f=1),
    Median(),
    Krum(f=2),
    GeometricMedian(),
    TrimmedMean(f=2),
    ClipNorms() | NNM(f=2) | TrimmedMean(f=2),
]


def as_layers(X: Rows) -> list[dict[str, Rows]]:
    cut = X.shape[1] // 3
    return [{"bias": row[:cut], "weight": row[cut : 3 * cut].reshape(2, cut), "rest": row[3 * cut :]} for row in X]


def as_unnamed_layers(X: Rows) -> list[list[Rows]]:
    return [list(row.values()) for row in as_layers(X)]


def as_blocks(X: Rows) -> list[Rows]:
    edges = [0, 1, 7, *range(1000, X.shape[1], 70_001), X.shape[1]]
    return [X[:, left:right] for left, right in zip(edges, edges[1:], strict=False)]


def as_passes(X: Rows) -> Callable[[], Iterator[Rows]]:
    return lambda: iter(as_blocks(X))


def as_tensors(X: Rows) -> list[dict[str, torch.Tensor]]:
    return [{name: torch.from_numpy(layer) for name, layer in row.items()} for row in as_layers(X)]


@pytest.fixture(scope="module", params=[30_000, 400_000])
def rows(request: pytest.FixtureRequest) -> Rows:
    X = np.random.default_rng(0).standard_normal((11, request.param), dtype=np.float32)
    X[4, -5] = np.nan
    return X


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("kept", [as_layers, as_unnamed_layers, as_blocks, as_passes, as_tensors])
def test_rows_kept_in_any_way_give_the_bits_of_the_whole_array(
    rule: Rule, kept: "Callable[[Rows], list[Rows]]", rows: Rows
) -> None:
    whole, streamed = aggregate(rows, rule), aggregate(kept(rows), rule)
    assert isinstance(streamed.vector, np.ndarray) and streamed.vector.dtype == np.float32
    assert np.array_equal(whole.vector, streamed.vector)
    assert whole.verdict.excluded == streamed.verdict.excluded and whole.verdict.excluded[4] == "not finite"
    assert whole.verdict.norms.tolist() == streamed.verdict.norms.tolist()


def test_a_large_table_is_cut_and_a_small_one_is_not() -> None:
    n, d = 11, 400_000
    assert span_width(11, 30_000) == 30_000 and span_width(n, d) < d and n * d > WORTH
    for n in (1, 2, 20, 50, 63, 64, 65, 200, 1000, 100_000):
        width = span_width(n, 10_000_000)
        assert width % 1024 == 0 or width & (width - 1) == 0
        assert n * width <= max(WORTH, 64 * n)


def test_a_mapped_file_is_read_where_it_lies(tmp_path: Path) -> None:
    X = np.random.default_rng(1).standard_normal((11, 400_000), dtype=np.float32)
    mapped = np.memmap(tmp_path / "rows", np.float32, "w+", shape=X.shape)
    mapped[:] = X
    for rule in RULES:
        tracemalloc.start()
        result = aggregate(np.memmap(tmp_path / "rows", np.float32, "r", shape=X.shape), rule)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert np.array_equal(result.vector, aggregate(X, rule).vector)
        assert peak < 64e6, rule


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("kept", [np.asarray, as_layers, as_passes])
def test_two_hundred_megabytes_need_no_more_than_64_besides(rule: Rule, kept: "Callable[[Rows], Rows]") -> None:
    X = np.random.default_rng(2).standard_normal((50, 1_000_000), dtype=np.float32)
    X[7, 3] = np.inf  # rows that are left out must not cost a copy of the others
    given = kept(X)
    tracemalloc.start()
    aggregate(given, rule)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 64e6, f"{peak / 1e6:.0f} MB"


def test_taken_rows_are_those_rows_however_they_are_kept() -> None:
    X = np.random.default_rng(3).standard_normal((6, 900))
    strided = [{"w": row.reshape(3, 300).T.copy().T} for row in X]
    assert not strided[0]["w"].flags.c_contiguous
    chosen, again = np.array([5, 0, 3]), np.array([2, 1])
    for table in (InMemory(X), Layered(as_layers(X)), Layered(strided), Passes(lambda: [X[:, :11], X[:, 11:]])):
        for taken, expected in ((table.take(chosen), X[chosen]), (table.take(chosen).take(again), X[chosen][again])):
            assert taken.shape == expected.shape
            assert np.array_equal(np.hstack([block for _, block in taken.spans()]), expected)
            assert np.array_equal(taken.row(1), expected[1])
            assert np.array_equal(taken.every(7), expected[:, ::7])


def test_every_so_many_columns_are_found_across_spans() -> None:
    X = np.random.default_rng(4).standard_normal((11, 400_000), dtype=np.float32)
    for step in (1999, 40_001):
        assert np.array_equal(Passes(lambda: as_blocks(X)).every(step), X[:, ::step])


def test_lengths_say_which_rows_are_finite_even_if_their_squares_are_not() -> None:
    X = np.ones((4, 3), np.float32)
    X[1], X[2, 1], X[3, 2] = 1e30, np.nan, -np.inf
    norms, finite = lengths(InMemory(X))
    assert finite.tolist() == [True, True, False, False]
    np.testing.assert_allclose(norms[:2], [np.sqrt(3.0), np.sqrt(3.0) * 1e30], rtol=1e-6)
    wide = lengths(InMemory(np.array([[1e200, 1.0], [1.0, 1.0]])))
    assert wide.finite.all() and np.isinf(wide.norms[0])


@pytest.mark.parametrize(
    ("X", "code"),
    [
        (iter([np.ones((3, 2))]), "E102 an iterator can be read only once"),
        ([{"w": np.ones(2)}, {"w": np.ones(3)}], "E126 the layers of row 1 have other shapes"),
        ([{"w": np.ones(2)}, {"v": np.ones(2)}], "E126 rows must have the same layers"),
        ([{"w": np.ones(2)}, [np.ones(2)]], "E126 rows must all have named layers"),
        ([{"w": np.ones(2)}, {"w": np.ones(2, np.float32)}], "E102 updates must be of one dtype"),
        ([{"w": np.ones(2), "steps": np.ones(1, np.int64)}], "E102 updates must be float32 or float64"),
        ([np.ones((3, 2)), np.ones((4, 2))], "E126 blocks of columns must have the same rows"),
        ([np.ones((3, 2)), np.ones(3)], "E126 blocks of columns must have shape"),
        ([np.ones((3, 2)), np.ones((3, 2), np.float32)], "E102"),
        ([np.ones((3, 2), np.int32)], "E102"),
        (list, "E126"),
        ([{}, {}], "E126"),
        ([], "E126"),
    ],
)
def test_what_is_no_table_is_refused(X: "list[Rows]", code: str) -> None:
    with pytest.raises(Misconfigured, match=code):
        aggregate(X, Median())


def test_rows_as_plain_lists_still_are_rows() -> None:
    assert aggregate([[1.0, 2.0], [3.0, 4.0]], Mean()).vector.tolist() == [2.0, 3.0]  # type: ignore[arg-type]
    assert as_table([np.ones(3), np.zeros(3)]).shape == (2, 3)


def test_a_second_pass_that_differs_is_noticed() -> None:
    for later in (1, 3):
        passes = iter([[np.ones((3, 2))] * 2, [np.ones((3, 2))] * later])
        with pytest.raises(Misconfigured, match="E126 (fewer|more) columns came than before"):
            aggregate(lambda passes=passes: next(passes), Mean())  # type: ignore[misc]
    passes = iter([[np.ones((3, 2))], [np.ones((4, 2))]])
    with pytest.raises(Misconfigured, match="E126 a block of shape"):
        aggregate(lambda: next(passes), Mean())


def test_more_unusable_rows_than_f_stop_a_stream_too(rows: Rows) -> None:
    X = rows.copy()
    X[[0, 1], 3] = np.inf
    with pytest.raises(Exhausted, match="E502 3 of 11"):
        aggregate(as_passes(X), TrimmedMean(f=2))
