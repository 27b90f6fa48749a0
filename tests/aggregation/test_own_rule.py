from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from hedgerow.aggregation import RULES, aggregate, make_rule, minimum_rows, register_rule
from hedgerow.aggregation import registry as names
from hedgerow.errors import Exhausted, Misconfigured
from hedgerow.job import Job

Rows = npt.NDArray[np.floating]
JOB = {"privacy.unit": "none", "secure.mode": "off"}


@pytest.fixture(autouse=True)
def registry_as_it_was() -> Iterator[None]:
    kept = dict(names._rules)
    yield
    names._rules.clear()
    names._rules.update(kept)


def test_one_function_and_a_decorator_make_a_rule_that_jobs_can_name() -> None:
    with pytest.raises(Misconfigured, match="E103 'aggregate.rule' cannot be 'own-midrange'"):
        Job.from_flat({**JOB, "aggregate.rule": "own-midrange"})

    @register_rule("own-midrange", needs=lambda f: 3 * f + 2)
    def midrange(rows: Rows, f: int) -> Rows:
        ends = np.sort(rows, axis=0)[[f, len(rows) - 1 - f]]
        result: Rows = ends.mean(axis=0)
        return result

    assert "own-midrange" in RULES and minimum_rows("own-midrange", 2) == 8
    job = Job.from_flat({**JOB, "aggregate.rule": "own-midrange", "aggregate.before": "arc+nnm"})
    assert job.aggregate.rule == "own-midrange"
    X = np.array([[0.0], [1.0], [2.0], [5.0], [90.0]])
    assert aggregate(X, make_rule("own-midrange", byzantine=1)).vector.tolist() == [3.0]
    assert midrange(X, 1).tolist() == [3.0]
    with pytest.raises(Misconfigured, match="E103 OwnRule with f=1 needs at least 5 rows"):
        aggregate(X[1:], make_rule("own-midrange", byzantine=1))


def test_it_gets_finite_rows_of_its_own_and_the_f_that_is_left() -> None:
    seen: list[tuple[Rows, int]] = []

    @register_rule("watching")
    def watching(rows: Rows, f: int) -> Rows:
        seen.append((rows.copy(), f))
        rows[:] = 0.0
        return np.zeros(rows.shape[1])

    X = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    X[2] = np.nan
    before = X.copy()
    vector = aggregate(X, make_rule("watching", byzantine=2)).vector
    assert np.array_equal(X, before, equal_nan=True) and vector.dtype == np.float32
    rows, f = seen[0]
    assert f == 1 and np.array_equal(rows, np.delete(X, 2, axis=0))


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (np.zeros(4), Misconfigured, "E126 the rule 'wrong' must return numbers of shape"),
        (np.zeros(3, np.int64), Misconfigured, "E126"),
        (np.array([0.0, np.nan, 0.0]), Exhausted, "E502 the rule 'wrong' returned a vector that is not finite"),
    ],
)
def test_an_answer_that_cannot_be_used_is_refused(answer: Rows, error: type[Exception], words: str) -> None:
    register_rule("wrong")(lambda rows, f: answer)
    with pytest.raises(error, match=words):
        aggregate(np.eye(3), make_rule("wrong", byzantine=0))


@pytest.mark.parametrize("name", ["", "My-Rule", "my_rule", "my rule", "krum", "arc+nnm"])
def test_a_name_that_is_taken_or_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(Misconfigured, match="E103"):
        register_rule(name)(lambda rows, f: rows[0])


def test_a_job_that_was_run_is_read_back_where_its_rule_is_unknown() -> None:
    register_rule("gone")(lambda rows, f: rows[0])
    job = Job.from_flat({**JOB, "aggregate.rule": "gone"})
    del names._rules["gone"]
    again = Job.from_record(job.flat())
    assert again.digest() == job.digest() and again.aggregate.rule == "gone"
    with pytest.raises(Misconfigured, match="E103 'aggregate.before' cannot be 'nmn'"):
        Job.from_record({**job.flat(), "aggregate.before": "nmn"})


def test_a_module_that_is_loaded_again_registers_its_rule_again_and_another_function_does_not() -> None:
    def again(rows: Rows, f: int) -> Rows:
        return np.asarray(rows[0])

    register_rule("again")(again)
    register_rule("again")(again)
    with pytest.raises(Misconfigured, match="E103 there is a rule named 'again' already"):
        register_rule("again")(lambda rows, f: rows[0])


def test_a_rule_that_only_a_record_names_is_known_but_cannot_be_used_until_its_task_registers_it() -> None:
    from hedgerow.aggregation.own_rule import recall_rule

    recall_rule("recalled")
    assert minimum_rows("recalled", 2) == 5
    with pytest.raises(Misconfigured, match="E103 the rule 'recalled' is not registered here"):
        aggregate(np.eye(3), make_rule("recalled", byzantine=1))
    register_rule("recalled", needs=lambda f: 3)(lambda rows, f: rows[0])
    recall_rule("recalled")
    recall_rule("median")
    assert minimum_rows("recalled", 2) == 3
    made = aggregate(np.eye(3), make_rule("recalled", byzantine=1))
    assert np.asarray(made.vector).tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(Misconfigured, match="E103"):
        recall_rule("No Name")
