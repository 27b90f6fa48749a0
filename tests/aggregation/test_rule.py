import dataclasses

import pytest

from hedgerow.aggregation import NNM, ClipNorms, GeometricMedian, Krum, Mean, Median, MultiKrum, Rule, TrimmedMean


def test_steps_join_in_order_however_they_are_grouped() -> None:
    left = (ClipNorms() | NNM(f=2)) | Krum(f=2)
    right = ClipNorms() | (NNM(f=2) | Krum(f=2))
    assert left == right
    assert left.before == (ClipNorms(), NNM(f=2)) and left.last == Krum(f=2)


def test_nothing_can_follow_a_rule() -> None:
    with pytest.raises(TypeError):
        Krum(f=1) | NNM(f=1)  # type: ignore[operator]
    with pytest.raises(TypeError):
        NNM(f=1) | 3  # type: ignore[operator]


def test_rules_are_values() -> None:
    assert NNM(f=2) | TrimmedMean(f=2) == NNM(f=2) | TrimmedMean(f=2)
    assert len({Krum(f=2), Krum(f=2), Krum(f=2, strict=False)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Krum(f=2).f = 3  # type: ignore[misc]


def test_a_chain_needs_what_its_most_demanding_step_needs() -> None:
    assert (NNM(f=2) | Krum(f=2)).needs(2) == 7
    assert (NNM(f=2) | Krum(f=2, strict=False)).needs(2) == 5
    assert (ClipNorms() | NNM(f=2)).needs(2) == 5
    assert (NNM(f=2) | Mean()).byzantine(11) == 2
    assert (NNM(f=2) | TrimmedMean(f=0.1)).byzantine(11) == 1
    assert (ClipNorms() | NNM(f=3)).byzantine(11) == 3


@pytest.mark.parametrize(
    ("rule", "kappa"),
    [
        (TrimmedMean(f=2), 6 * 2 / 7 * (1 + 2 / 7)),
        (Median(f=2), 4 * (1 + 2 / 7) ** 2),
        (Krum(f=2, neighbours="n-f-1"), 6 * (1 + 2 / 7)),
        (NNM(f=2) | TrimmedMean(f=2), 8 * 2 / 9 * (6 * 2 / 7 * (1 + 2 / 7) + 1)),
        (Mean(), 0.0),
        (Mean(f=2), None),
        (MultiKrum(f=2), None),
        (Krum(f=2), None),
        (ClipNorms() | NNM(f=2) | TrimmedMean(f=2), None),
    ],
    ids=str,
)
def test_kappa_is_stated_only_where_it_is_proven(rule: Rule, kappa: float | None) -> None:
    assert rule.kappa(11) == (None if kappa is None else pytest.approx(kappa))


@pytest.mark.parametrize(
    "rule", [TrimmedMean(f=2), Median(f=2), GeometricMedian(f=2), NNM(f=2) | TrimmedMean(f=2)], ids=str
)
def test_half_hostile_rows_leave_no_kappa(rule: Rule) -> None:
    assert rule.kappa(4) is None and rule.kappa(5) is not None
