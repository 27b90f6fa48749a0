"""What seeds add up to: against scipy, by hand, and seed by seed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]  # scipy ships no types

from hedgerow.report.sweeprows import SweepRun, read_run, spread, sweep_rows
from hedgerow.settings import Scalar


def run(cell: Scalar, seed: int, value: float | None, status: str = "finished", **more: object) -> SweepRun:
    return SweepRun(
        name=f"{cell}-{seed}",
        settings={"aggregate.rule": cell},
        seed=seed,
        status=status,
        metric="accuracy",
        value=value,
        **more,  # type: ignore[arg-type]  # whatever else a test sets
    )


def test_the_interval_is_the_one_by_hand() -> None:
    """Five accuracies: mean 0.84, sum of squares 0.002, sd √0.0005 = 0.02236, t(4) = 2.7764, half 2.7764 · 0.01."""
    of = spread([0.82, 0.83, 0.84, 0.83, 0.88])
    assert of is not None and of.sd is not None and of.low is not None and of.high is not None
    squares = (0.02**2) + (0.01**2) + 0 + (0.01**2) + (0.04**2)
    assert of.mean == pytest.approx(0.84)
    assert of.sd == pytest.approx((squares / 4) ** 0.5)
    half = 2.7764451 * (squares / 4) ** 0.5 / 5**0.5
    assert (of.low, of.high) == pytest.approx((0.84 - half, 0.84 + half), rel=1e-6)


Values = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30)


@given(values=Values)
def test_the_interval_is_scipys(values: list[float]) -> None:
    of = spread(values)
    assert of is not None and of.low is not None and of.high is not None
    sem = np.std(values, ddof=1) / np.sqrt(len(values))
    half = stats.t.ppf(0.975, len(values) - 1) * sem
    assert of.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert (of.low, of.high) == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=1e-6)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_so_few_seeds_still_cover_the_mean_in_95_of_100(count: int) -> None:
    """With the normal quantile instead, two seeds would cover it in 70 of 100."""
    drawn = np.random.default_rng(7).standard_normal((4000, count))
    found = [spread(row.tolist()) for row in drawn]
    covered = [of is not None and (of.low or 0) <= 0 <= (of.high or 0) for of in found]
    assert 0.94 <= np.mean(covered) <= 0.96


def test_one_value_has_no_interval_and_none_has_nothing() -> None:
    one = spread([0.5])
    assert one is not None and (one.mean, one.sd, one.low, one.high) == (0.5, None, None, None)
    assert spread([]) is None


def test_equal_values_have_no_spread() -> None:
    of = spread([0.7] * 4)
    assert of is not None and (of.sd, of.low, of.high) == (0.0, 0.7, 0.7)


def test_differences_are_taken_seed_by_seed() -> None:
    """The seeds differ by far more than the rules: only the pairs show it."""
    runs = [run("median", seed, seed / 10) for seed in range(5)]
    runs += [run("krum", seed, seed / 10 + 0.01) for seed in reversed(range(5))]
    first, second = sweep_rows(runs)
    assert first.difference is None
    of = second.difference
    assert of is not None and of.low is not None
    assert of.mean == pytest.approx(0.01) and of.low == pytest.approx(0.01)
    assert second.result is not None and second.result.sd is not None and second.result.sd > 0.1
    assert [each.seed for each in second.runs] == [0, 1, 2, 3, 4]


def test_a_difference_has_only_the_seeds_that_both_have_measured() -> None:
    runs = [run("median", 0, 0.5), run("median", 1, 0.6), run("median", 2, None, status="failed", code="E501")]
    runs += [run("krum", 0, None), run("krum", 1, 0.7), run("krum", 2, 0.9)]
    second = sweep_rows(runs)[1]
    assert second.difference is not None
    assert second.difference.count == 1 and second.difference.mean == pytest.approx(0.1)


def test_what_failed_counts_in_no_mean_and_is_named() -> None:
    runs = [run("krum", 0, 0.4), run("krum", 1, 0.6), run("krum", 2, None, status="failed", code="E501")]
    runs.append(run("krum", 3, 0.5, code="E507"))  # its gate failed, but it was trained to the end
    runs.append(run("krum", 4, None, status="interrupted", code="E901"))
    (row,) = sweep_rows(runs)
    assert row.result is not None and row.result.count == 3
    assert [each.seed for each in row.failed] == [2, 3]


def test_the_largest_spending_counts() -> None:
    runs = [run("krum", seed, 0.5, epsilon=spent, seconds=1.0 + seed) for seed, spent in enumerate((1.0, 3.0, 2.0))]
    (row,) = sweep_rows(runs)
    assert (row.epsilon, row.seconds) == (3.0, 2.0)


def test_a_run_that_never_started_is_waiting(tmp_path: Path) -> None:
    assert read_run(tmp_path / "none", settings={}, seed=3).status == "waiting"
