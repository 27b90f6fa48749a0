"""Each attack on updates against its formula, written out in a line or two, and what must hold for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import krum
from hedgerow.errors import Misconfigured
from hedgerow.simulations.attacks import (
    Scene,
    alie,
    drift,
    fang,
    free_rider,
    gaussian,
    ipm,
    kind_of,
    largest_z,
    masked,
    mimic,
    min_max,
    min_sum,
    replacement,
    scale,
    sign_flip,
    sybil,
)
from hedgerow.simulations.attacks.farthest import Direction

H = np.random.default_rng(3).standard_normal((8, 30)) + np.linspace(-1, 1, 30)

ON_HONEST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sign_flip": sign_flip,
    "scale": scale,
    "ipm": ipm,
    "alie": lambda rows: alie(rows, f=3),
    "min_max std": min_max,
    "min_max sign": lambda rows: min_max(rows, direction="sign"),
    "min_max unit": lambda rows: min_max(rows, direction="unit"),
    "min_sum std": min_sum,
    "min_sum sign": lambda rows: min_sum(rows, direction="sign"),
    "min_sum unit": lambda rows: min_sum(rows, direction="unit"),
    "fang krum": lambda rows: fang(rows, against="krum", f=2),
    "fang trimmed mean": fang,
    "drift": lambda rows: drift(rows, direction=np.ones(30)),
    "replacement": lambda rows: replacement(rows, boost=4, cap=1.5),
}
ANY_ORDER = sorted(ON_HONEST)
OTHERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mimic": mimic,
    "gaussian": lambda rows: gaussian(rows, rng=np.random.default_rng(1)),
    "free_rider": lambda rows: free_rider(rows, last=H[0], rng=np.random.default_rng(1)),
}
EVERY = {**ON_HONEST, **OTHERS}


@pytest.mark.parametrize("name", sorted(EVERY))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 8])
def test_one_finite_row_of_the_dtype_of_the_rows_comes_out_and_nothing_is_changed(
    name: str, dtype: type, n: int
) -> None:
    rows: np.ndarray = H[:n].astype(dtype)
    before = rows.copy()
    row = EVERY[name](rows)
    assert row.shape == (30,) and row.dtype == dtype and np.isfinite(row).all()
    np.testing.assert_array_equal(rows, before)
    assert row.flags.writeable and not np.shares_memory(row, rows)


@pytest.mark.parametrize("name", ANY_ORDER)
def test_the_order_of_the_honest_sites_does_not_matter(name: str) -> None:
    order = np.random.default_rng(5).permutation(len(H))
    np.testing.assert_allclose(ON_HONEST[name](H[order]), ON_HONEST[name](H), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(ANY_ORDER) - {"fang krum", "replacement"}))
def test_twice_the_updates_are_twice_the_attack(name: str) -> None:
    np.testing.assert_allclose(ON_HONEST[name](2 * H), 2 * ON_HONEST[name](H), rtol=1e-9)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_what_is_no_table_of_floats_is_refused(name: str) -> None:
    for wrong, code in ((H[0], "E126"), (H[:0], "E126"), (H.astype(np.int64), "E102")):
        with pytest.raises(Misconfigured) as caught:
            EVERY[name](wrong)
        assert caught.value.code == code


def test_sign_flip_scale_and_ipm_are_multiples_of_the_mean() -> None:
    mean = H.mean(axis=0)
    np.testing.assert_allclose(sign_flip(H, strength=2.5), -2.5 * mean)
    np.testing.assert_allclose(scale(H, factor=7), 7 * mean)
    np.testing.assert_allclose(ipm(H, tau=0.3), -0.3 * mean)


def test_gaussian_is_noise_of_the_given_deviation_that_knows_nothing_of_the_rows() -> None:
    rows = np.ones((3, 100_000), np.float32)
    noise = gaussian(rows, std=3.0, rng=np.random.default_rng(1))
    assert noise.dtype == np.float32 and noise.shape == (100_000,)
    assert abs(noise.mean()) < 0.05 and abs(noise.std() - 3) < 0.05
    np.testing.assert_array_equal(noise, gaussian(rows * 50, std=3.0, rng=np.random.default_rng(1)))


def test_alie_is_the_mean_minus_z_standard_deviations_with_n_minus_one() -> None:
    np.testing.assert_allclose(alie(H, z=1.7), H.mean(axis=0) - 1.7 * H.std(axis=0, ddof=1))
    wide = np.random.default_rng(0).standard_normal((5, 40_000))  # more than one block of columns
    np.testing.assert_allclose(alie(wide, z=1.0), wide.mean(axis=0) - wide.std(axis=0, ddof=1))


@pytest.mark.parametrize(("n", "f"), [(50, 24), (50, 12), (25, 5), (11, 5), (20, 6)])
def test_without_z_alie_is_as_far_out_as_a_majority_needs(n: int, f: int) -> None:
    """Baruch et al., section 3: s = n // 2 + 1 - f more are needed, and Φ(z) = (n - f - s) / (n - f)."""
    s = n // 2 + 1 - f
    assert NormalDist().cdf(largest_z(n, f)) == pytest.approx(max((n - f - s) / (n - f), 0.5))
    rows = np.random.default_rng(n).standard_normal((n - f, 6))
    np.testing.assert_array_equal(alie(rows, f=f), alie(rows, z=largest_z(n, f)))


def test_z_is_known_for_the_paper_s_setting_and_needs_to_be_given_or_derived() -> None:
    assert largest_z(50, 24) == pytest.approx(1.426, abs=1e-3)
    assert largest_z(10, 1) == 0.0 and math.isfinite(largest_z(10, 9))
    for f in (None, 0):
        with pytest.raises(Misconfigured):
            alie(H, f=f)


def test_mimic_is_a_copy_of_the_chosen_site() -> None:
    np.testing.assert_array_equal(mimic(H, who=3), H[3])
    with pytest.raises(Misconfigured):
        mimic(H, who=8)


DIRECTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "std": lambda rows: -rows.std(axis=0, ddof=1),
    "sign": lambda rows: -np.sign(rows.mean(axis=0)),
    "unit": lambda rows: -rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0)),
}


def largest_distance(row: np.ndarray, rows: np.ndarray) -> float:
    return float(max(np.linalg.norm(row - one) for one in rows))


def summed_squares(row: np.ndarray, rows: np.ndarray) -> float:
    return float(sum(((row - one) ** 2).sum() for one in rows))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.integers(1, 20), st.sampled_from(get_args(Direction)), st.integers(0, 2**31))
def test_min_max_and_min_sum_go_to_their_bound_and_not_beyond(n: int, d: int, direction: Direction, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, d)) * rng.uniform(0.1, 5, d) + rng.standard_normal(d)
    toward = DIRECTIONS[direction](rows)
    found = {"max": min_max(rows, direction=direction), "sum": min_sum(rows, direction=direction)}
    for row, measure in zip(found.values(), (largest_distance, summed_squares), strict=True):
        bound = max(measure(one, rows) for one in rows)
        assert measure(row, rows) <= bound * (1 + 1e-9)
        assert measure(row + 1e-3 * toward, rows) > bound  # the largest γ, not just one that holds
        gamma = (row - rows.mean(axis=0)) @ toward / (toward @ toward)
        assert gamma >= 0
        np.testing.assert_allclose(row, rows.mean(axis=0) + gamma * toward, rtol=1e-9, atol=1e-9)


def test_min_max_keeps_its_bound_in_float32_and_where_all_agree() -> None:
    rows = H.astype(np.float32)
    assert largest_distance(min_max(rows), rows) <= max(largest_distance(one, rows) for one in rows) * (1 + 1e-5)
    same = np.ones((4, 3))
    np.testing.assert_array_equal(min_max(same), same[0])
    np.testing.assert_array_equal(min_sum(same), same[0])
    with pytest.raises(Misconfigured):
        min_max(H, direction="up")  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_fang_against_trimmed_mean_is_beyond_the_extreme_on_the_wrong_side(seed: int, draws: bool) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((6, 10)) + rng.standard_normal(10)
    row = fang(rows, rng=np.random.default_rng(1) if draws else None)
    for value, column, mean in zip(row, rows.T, rows.mean(axis=0), strict=True):
        edge = column.min() if mean > 0 else column.max()
        ends = sorted((edge, 2 * edge if (edge < 0) == (mean > 0) else edge / 2))
        assert ends[0] - 1e-12 <= value <= ends[1] + 1e-12
        assert value <= edge if mean > 0 else value >= edge


@pytest.mark.parametrize("f", [1, 2, 3])
def test_fang_against_krum_is_picked_and_a_larger_step_is_not(f: int) -> None:
    rows = np.random.default_rng(f).standard_normal((10, 12)) * 0.1 + 1.0
    row = fang(rows, against="krum", f=f)
    signs = np.sign(rows.mean(axis=0))
    strength = -row[0] * signs[0]
    np.testing.assert_allclose(row, -strength * signs)
    table = np.vstack([rows, np.tile(row, (f, 1))])
    if strength > 1e-5:
        np.testing.assert_array_equal(krum(table, f=f, neighbours="n-f-2", strict=False), row)


def test_fang_against_krum_wins_where_the_honest_sites_lie_around_the_model() -> None:
    rows = np.random.default_rng(0).standard_normal((10, 12))
    row = fang(rows, against="krum", f=3)
    assert np.abs(row).max() > 1e-3
    larger = np.vstack([rows, np.tile(2 * row, (3, 1))])
    np.testing.assert_array_equal(krum(np.vstack([rows, np.tile(row, (3, 1))]), f=3, neighbours="n-f-2"), row)
    assert not np.array_equal(krum(larger, f=3, neighbours="n-f-2"), 2 * row) or np.abs(row).max() > 1


def test_a_free_rider_sends_back_the_last_step_and_nothing_before_there_was_one() -> None:
    last = np.arange(30.0)
    np.testing.assert_array_equal(free_rider(H, last=last, strength=0.5), last / 2)
    np.testing.assert_array_equal(free_rider(H), np.zeros(30))
    disguised = free_rider(H, last=last, rng=np.random.default_rng(0))
    assert 0 < np.abs(disguised - last).max() < last.mean()
    np.testing.assert_array_equal(free_rider(H, rng=np.random.default_rng(0)), np.zeros(30))


def test_drift_adds_the_same_direction_at_a_share_of_the_own_length() -> None:
    direction = np.random.default_rng(1).standard_normal(30)
    pushed = drift(H[:1], direction=direction, strength=0.25) - H[0]
    np.testing.assert_allclose(pushed, 0.25 * np.linalg.norm(H[0]) * direction / np.linalg.norm(direction))


def test_a_replacement_is_boosted_and_no_longer_than_its_cap() -> None:
    np.testing.assert_allclose(replacement(H[:1], boost=3), 3 * H[0])
    capped = replacement(H[:1], boost=3, cap=0.5)
    assert np.linalg.norm(capped) == pytest.approx(0.5)
    np.testing.assert_allclose(capped / 0.5, H[0] / np.linalg.norm(H[0]))
    np.testing.assert_allclose(replacement(H[:1], boost=3, cap=1e9), 3 * H[0])


def test_a_boost_of_n_over_f_replaces_the_model() -> None:
    """n updates of which f are boosted by n / f move their mean by the attackers' update plus the honest rest."""
    n, f = 10, 2
    target = np.full(30, 3.0)
    rows = np.vstack([np.zeros((n - f, 30)), np.tile(replacement(target[None], boost=n / f), (f, 1))])
    np.testing.assert_allclose(rows.mean(axis=0), target)


def test_neurotoxin_leaves_the_coordinates_alone_that_moved_most() -> None:
    last = np.random.default_rng(1).standard_normal(30)
    rows = masked(H[:2], last=last, share=0.2)
    largest = np.argsort(-np.abs(last))[:6]
    assert (rows[:, largest] == 0).all()
    others = np.setdiff1d(np.arange(30), largest)
    np.testing.assert_array_equal(rows[:, others], H[:2, others])
    np.testing.assert_array_equal(masked(H[:2], last=None), H[:2])


def test_sybils_are_alike_but_not_equal_and_move_the_sum_as_one() -> None:
    rows = sybil(H[:4], noise=0.05, rng=np.random.default_rng(0))
    mean = H[:4].mean(axis=0)
    np.testing.assert_allclose(rows.mean(axis=0), mean, atol=1e-12)
    away = np.linalg.norm(rows - mean, axis=1)
    assert 0 < away.min() and away.max() == pytest.approx(0.05 * np.linalg.norm(mean))
    np.testing.assert_array_equal(sybil(H[:1], rng=np.random.default_rng(0)), H[:1])


@pytest.mark.parametrize("name", ["alie", "min-max", "min-sum"])
def test_in_a_run_the_published_side_is_that_of_gradients(name: str, scene_of: Callable[..., Scene]) -> None:
    """Updates are gradients times minus the rate: the published row on gradients, in updates, and its mirror image."""
    published: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "alie": lambda rows: alie(rows, z=1.5),
        "min-max": lambda rows: min_max(rows),
        "min-sum": lambda rows: min_sum(rows),
    }
    attack = published[name]
    kind = kind_of(name)
    assert kind.change is not None
    for other, expected in ((0.0, -attack(-H)), (1.0, attack(H))):
        scene = scene_of(honest=H, own=H[:2], strength=1.5 if name == "alie" else 1.0, more=(other,))
        np.testing.assert_allclose(kind.change(scene), expected)
    assert not np.allclose(-attack(-H), attack(H))
