import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgerow.errors import HedgerowError
from hedgerow.privacy.correlated import Attendance, Participation, cyclic_batch

PATTERN = Participation(rounds=12, min_separation=3, max_participations=3)


@given(st.lists(st.sets(st.integers(0, 4)), min_size=12, max_size=12))
def test_whoever_is_let_in_keeps_to_the_pattern(wishes: list[set[int]]) -> None:
    attendance, seen = Attendance.start(PATTERN, 5), [[] for _ in range(5)]  # type: ignore[var-annotated]
    for t, wished in enumerate(wishes, start=1):
        allowed = [unit for unit in wished if attendance.eligible(t)[unit]]
        attendance = attendance.after(t, allowed)
        for unit in allowed:
            seen[unit].append(t)
    for rounds in seen:
        assert len(rounds) <= 3 and all(b - a >= 3 for a, b in zip(rounds, rounds[1:], strict=False))


def test_whoever_could_come_is_not_kept_out() -> None:
    attendance = Attendance.start(PATTERN, 1)
    for t in (1, 4, 7):
        assert attendance.eligible(t).all()
        attendance = attendance.after(t, [0])
    assert not attendance.eligible(12).any()


@pytest.mark.parametrize(
    ("round", "units", "code"),
    [
        (3, [0], "E201"),
        (1, [0], "E201"),
        (13, [1], "E201"),
        (0, [1], "E201"),
        (4, [1, 1], "E103"),
        (4, [2], "E103"),
        (4, [-1], "E103"),
    ],
)
def test_others_are_refused(round: int, units: list[int], code: str) -> None:
    attendance = Attendance.start(PATTERN, 2).after(1, [0])
    with pytest.raises(HedgerowError) as caught:
        attendance.after(round, units)
    assert caught.value.code == code
    assert attendance.last.tolist() == [1, 0] and attendance.times.tolist() == [1, 0]


def test_every_record_comes_back_after_as_many_rounds_as_there_are_batches() -> None:
    for records, batches in ((10, 3), (7, 7), (5, 1)):
        seen = [cyclic_batch(records=records, batches=batches, round=t) for t in range(1, 2 * batches + 1)]
        assert sorted(np.concatenate(seen[:batches]).tolist()) == list(range(records))
        assert all((a == b).all() for a, b in zip(seen[:batches], seen[batches:], strict=True))


def test_taking_the_last_record_out_moves_no_other_one() -> None:
    for t in range(1, 5):
        with_it, without = (cyclic_batch(records=n, batches=4, round=t) for n in (11, 10))
        assert set(with_it.tolist()) - {10} == set(without.tolist())


@pytest.mark.parametrize(("records", "batches", "round"), [(3, 4, 1), (3, 0, 1), (3, 3, 0)])
def test_batches_that_cannot_be_are_refused(records: int, batches: int, round: int) -> None:
    with pytest.raises(HedgerowError) as caught:
        cyclic_batch(records=records, batches=batches, round=round)
    assert caught.value.code == "E103"
