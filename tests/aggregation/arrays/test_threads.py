import multiprocessing
import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from hedgerow.aggregation import (
    NNM,
    ClipNorms,
    GeometricMedian,
    Krum,
    Mean,
    Median,
    Rule,
    TrimmedMean,
    aggregate,
    judge,
    preparing,
)
from hedgerow.aggregation.arrays import threads
from hedgerow.aggregation.arrays.threads import WORTH, allowed, at_most, in_order


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three threads, whatever the machine and its environment say."""
    monkeypatch.setattr(threads, "allowed", lambda: 3)


@pytest.fixture(scope="module")
def large() -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    X = np.random.default_rng(0).standard_normal((12, 400_000), dtype=np.float32)
    assert X.size > WORTH
    return X


RULES: list[Rule] = [
    Mean(),
    Median(),
    Krum(f=2),
    GeometricMedian(),
    TrimmedMean(f=2),
    ClipNorms() | NNM(f=2) | TrimmedMean(f=2),
]


@pytest.mark.parametrize("sorting", [True, False])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_many_threads_give_the_bits_of_one(
    rule: Rule,
    sorting: bool,
    large: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = set()

    def three() -> int:
        seen.add(threading.get_ident())
        return 3

    one = aggregate(large, rule)
    monkeypatch.setattr(threads, "allowed", three)
    monkeypatch.setattr(preparing, "allowed", three)
    monkeypatch.setattr(judge, "threads_pay", lambda n, threads: sorting)
    many = aggregate(large, rule)
    assert seen, "the rule never asked for threads"
    assert np.array_equal(one.vector, many.vector)
    assert one.verdict.norms.tolist() == many.verdict.norms.tolist()
    for name in ("weights", "scores"):
        assert np.array_equal(getattr(one.verdict, name), getattr(many.verdict, name)), name


def test_small_work_is_done_by_the_caller(three: None) -> None:
    assert set(in_order(lambda _: threading.get_ident(), range(9), numbers=WORTH - 1)) == {threading.get_ident()}


@pytest.mark.skipif(threads._blas() is None, reason="this numpy's BLAS cannot be held to one thread")
class TestWithThreads:
    def test_results_come_in_order_from_other_threads(self, three: None) -> None:
        turn = threading.Barrier(3, timeout=30)

        def work(part: int) -> tuple[int, int]:
            turn.wait()  # passes only if three parts are at work at once
            return part, threading.get_ident()

        results = list(in_order(work, range(9), numbers=WORTH))
        assert [part for part, _ in results] == list(range(9))
        assert threading.get_ident() not in {who for _, who in results} and len({who for _, who in results}) == 3

    def test_parts_are_not_made_long_before_they_are_used(self, three: None) -> None:
        made: list[int] = []

        def parts() -> Iterator[int]:
            for part in range(50):
                made.append(part)
                yield part

        for result in in_order(lambda part: part, parts(), numbers=WORTH):
            assert len(made) - result <= 5

    def test_blas_has_one_thread_meanwhile_and_its_own_again_after(self, three: None) -> None:
        found = threads._blas()
        assert found is not None
        count, hold = found
        before = count()
        hold(2)
        try:
            assert set(in_order(lambda _: count(), range(5), numbers=WORTH)) == {1}
            assert count() == 2
            with pytest.raises(ZeroDivisionError):
                list(in_order(lambda part: 1 // part, range(5), numbers=WORTH))
            assert count() == 2
        finally:
            hold(before)

    def test_nothing_is_at_work_when_a_caller_has_stopped(self, three: None) -> None:
        done: list[int] = []
        results = in_order(done.append, range(50), numbers=WORTH)
        next(results)
        results.close()  # type: ignore[attr-defined]
        so_far = len(done)
        assert list(in_order(lambda part: part, range(9), numbers=WORTH)) == list(range(9))
        assert len(done) == so_far < 50

    def test_work_inside_work_has_one_thread(self, three: None) -> None:
        assert set(in_order(lambda _: allowed(), range(6), numbers=WORTH)) == {1}

    def test_a_forked_child_makes_threads_of_its_own(
        self, three: None, large: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"
    ) -> None:
        here = float(aggregate(large, Median()).vector[7])
        with multiprocessing.get_context("fork").Pool(1) as children:
            there = children.apply_async(_median_in_child, (large[:, :390_000],)).get(timeout=60)
        assert there == here


def _median_in_child(X: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> float:
    return float(aggregate(X, Median()).vector[7])


def test_the_environment_torch_and_the_caller_each_bound_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert allowed() == 8
    with at_most(5):
        assert allowed() == 5
        monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
        assert allowed() == 3
        with at_most(1):
            assert allowed() == 1
        assert allowed() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "all")
    assert allowed() == 8
