"""The curve is exact: it equals a brute-force count, and only the order of scores matters."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]  # scikit-learn ships no types

from hedgerow.errors import Misconfigured
from hedgerow.privacy.leakage import roc
from hedgerow.privacy.leakage.roc import allowed_false_alarms

few_values = st.lists(st.integers(-4, 4), min_size=1, max_size=25)  # few distinct values: many ties


def counted_auc(members: list[int], nonmembers: list[int]) -> float:
    wins = sum(Fraction(2 * (m > n) + (m == n), 2) for m in members for n in nonmembers)
    return float(wins / (len(members) * len(nonmembers)))


def counted_tpr(members: list[int], nonmembers: list[int], fpr: float) -> float:
    allowed = [t for t in [*members, *nonmembers] if sum(n >= t for n in nonmembers) / len(nonmembers) <= fpr]
    return max((sum(m >= t for m in members) / len(members) for t in allowed), default=0.0)


@given(few_values, few_values, st.floats(0, 1))
def test_area_and_rates_equal_a_brute_force_count(members: list[int], nonmembers: list[int], fpr: float) -> None:
    curve = roc(members, nonmembers)
    assert curve.auc == counted_auc(members, nonmembers)
    assert curve.tpr_at(fpr) == counted_tpr(members, nonmembers, fpr)


@given(few_values, few_values)
def test_the_area_agrees_with_scikit_learn(members: list[int], nonmembers: list[int]) -> None:
    labels = [1] * len(members) + [0] * len(nonmembers)
    assert roc(members, nonmembers).auc == pytest.approx(roc_auc_score(labels, members + nonmembers), abs=1e-12)


@given(few_values, few_values)
def test_the_curve_runs_from_corner_to_corner_and_its_trapezoids_are_the_area(
    members: list[int], nonmembers: list[int]
) -> None:
    curve = roc(members, nonmembers)
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(curve.fpr) >= 0).all() and (np.diff(curve.tpr) >= 0).all()
    assert len(curve.fpr) == len({*members, *nonmembers}) + 1
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(curve.auc, abs=1e-12)


@given(few_values, few_values, st.integers(0, 2**32 - 1))
def test_the_order_of_records_does_not_matter(members: list[int], nonmembers: list[int], seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(members)
    first, second = roc(members, nonmembers), roc(shuffled, nonmembers[::-1])
    assert np.array_equal(first.fpr, second.fpr) and np.array_equal(first.tpr, second.tpr)
    assert first.auc == second.auc


@given(few_values, few_values)
def test_only_the_order_of_scores_matters(members: list[int], nonmembers: list[int]) -> None:
    plain, bent = roc(members, nonmembers), roc(np.exp(members), np.exp(nonmembers))
    assert np.array_equal(plain.fpr, bent.fpr) and np.array_equal(plain.tpr, bent.tpr)


@given(few_values, few_values)
def test_swapping_the_groups_mirrors_the_area(members: list[int], nonmembers: list[int]) -> None:
    assert roc(members, nonmembers).auc + roc(nonmembers, members).auc == pytest.approx(1.0, abs=1e-12)


def test_perfect_constant_and_inverted_scores_have_the_known_areas() -> None:
    assert roc([2, 3], [0, 1]).auc == 1.0
    assert roc([5, 5, 5], [5, 5]).auc == 0.5
    assert roc([0, 1], [2, 3]).auc == 0.0
    assert roc([5, 5, 5], [5, 5]).tpr_at(0.99) == 0.0  # one threshold: accuse everyone or no one


def test_there_is_no_interpolation_between_thresholds() -> None:
    curve = roc([4, 3, 2, 1], [3.5, 0])
    assert (curve.tpr_at(0.49), curve.tpr_at(0.5), curve.tpr_at(1.0)) == (0.25, 1.0, 1.0)


def test_infinite_scores_are_ordered_like_any_others() -> None:
    assert roc([np.inf, 1], [-np.inf, 0]).auc == 1.0
    assert roc([-np.inf], [-np.inf]).auc == 0.5


def test_a_thinned_curve_keeps_its_ends_and_only_exact_vertices() -> None:
    rng = np.random.default_rng(3)
    curve = roc(rng.normal(1, 1, 3000), rng.normal(0, 1, 2000))
    vertices = set(zip(curve.fpr.tolist(), curve.tpr.tolist(), strict=True))
    points = curve.points(limit=60)
    assert 30 < len(points) <= 60
    assert points[0] == (0, 0) and points[-1] == (1, 1)
    assert set(points) <= vertices
    assert (0.0, curve.tpr_at(0.0)) in points
    assert sum(fpr < 0.01 for fpr, _ in points) > 10  # the left end is where the leak is seen


@given(few_values, few_values, st.integers(4, 12))
def test_a_thinned_curve_never_exceeds_its_limit(members: list[int], nonmembers: list[int], limit: int) -> None:
    points = roc(members, nonmembers).points(limit)
    assert len(points) <= limit
    assert list(points) == sorted(points)


def test_a_short_curve_is_kept_whole() -> None:
    assert roc([1, 0], [0]).points() == ((0.0, 0.0), (0.0, 0.5), (1.0, 1.0))


@given(st.integers(1, 400), st.data())
def test_the_number_of_allowed_false_alarms_survives_rounding(nonmembers: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, nonmembers))
    assert allowed_false_alarms(count / nonmembers, nonmembers) == count


@pytest.mark.parametrize(
    ("members", "nonmembers", "code"),
    [
        ([], [1.0], "E125"),
        ([1.0], [], "E125"),
        ([1.0, float("nan")], [1.0], "E123"),
        ([[1.0]], [1.0], "E102"),
    ],
)
def test_scores_that_cannot_be_ranked_are_refused(members: list[float], nonmembers: list[float], code: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        roc(members, nonmembers)
    assert caught.value.code == code


def test_rates_and_limits_out_of_range_are_refused() -> None:
    curve = roc([1.0], [0.0])
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(Misconfigured, match="E103"):
            curve.tpr_at(wrong)
    with pytest.raises(Misconfigured, match="E103"):
        curve.points(limit=3)


def test_importing_the_package_loads_neither_torch_nor_scipy() -> None:
    program = (
        "import sys, hedgerow.privacy.leakage as leakage\n"
        "assert leakage.Gate and leakage.measure and callable(leakage.roc)\n"
        "heavy = {'torch', 'scipy', 'sklearn', 'opacus', 'flwr'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": ":".join(sys.path)})
