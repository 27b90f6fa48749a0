"""Mistakes that other libraries make with rules of the same names, each tried on ours."""

import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
import torch

from hedgerow.aggregation import (
    MDA,
    RULES,
    Krum,
    Mean,
    MultiKrum,
    Promise,
    TrimmedMean,
    aggregate,
    arc,
    bulyan,
    centered_clipping,
    clip_norms,
    geometric_median,
    krum,
    make_rule,
    mda,
    mean,
    median,
    monna,
    multi_krum,
    spectral,
    trimmed_mean,
)

Floats = npt.NDArray[np.float64]
STATELESS = list(RULES)[:13]


def sample(seed: int, n: int = 11, d: int = 20) -> Floats:
    return np.random.default_rng(seed).standard_normal((n, d))


@pytest.mark.parametrize(("scale", "step"), [(0.05, 1e-3), (0.05, 1e-4), (1.0, 1e-3)])
@pytest.mark.parametrize("huge", [False, True])
def test_distances_of_nearly_equal_parameters_do_not_cancel(scale: float, step: float, huge: bool) -> None:
    rng = np.random.default_rng(0)
    model = scale * rng.standard_normal(20_000)
    X = (model + step * rng.standard_normal((30, 20_000)) * rng.uniform(0.9, 1.1, (30, 1))).astype(np.float32)
    if huge:
        X[11] = np.float32(1e6)
    exact = X.astype(np.float64)
    distances = np.array([((exact - row) ** 2).sum(axis=1) for row in exact])
    nearest = np.sort(distances + np.diag(np.full(30, np.inf)), axis=1)[:, :22].sum(axis=1)
    got = aggregate(X, Krum(f=6)).verdict.scores
    assert got is not None and (got >= 0).all()
    np.testing.assert_allclose(np.delete(got, 11), np.delete(nearest, 11), rtol=1e-6)
    assert np.array_equal(krum(X, f=6), X[nearest.argmin()])
    kept = set(range(30)) - set(aggregate(X, MultiKrum(f=6)).verdict.excluded)
    assert kept == set(np.argsort(nearest)[:24].tolist())


@pytest.mark.parametrize("name", [name for name in STATELESS if name != "mean"])
def test_one_row_that_is_not_a_number_neither_wins_nor_spoils(name: str) -> None:
    for place in (0, 5, 10):
        X = sample(1)
        X[place, 3] = np.nan
        rule = make_rule(name, byzantine=2)
        if name == "monna" and place == 0:
            continue  # there the pivot itself is gone, and nothing is answered
        result = aggregate(X, rule)
        assert np.isfinite(result.vector).all() and result.verdict.excluded[place] == "not finite"


def test_what_a_reply_claims_about_itself_has_no_say_and_what_the_server_says_is_bounded() -> None:
    X = sample(2)
    plain = multi_krum(X, f=2)
    assert np.array_equal(plain, multi_krum(X, f=2, weights=np.ones(11)))
    with pytest.raises(Exception, match="E103"):  # 1e9 examples would be nearly all of the weight
        multi_krum(X, f=2, weights=[1e9] + [1.0] * 10)


def test_the_trimmed_mean_trims_each_coordinate_and_not_the_rows() -> None:
    X = np.array([[9.0, 0.0], [0.0, 9.0], [1.0, 1.0], [2.0, 2.0], [-9.0, 3.0]])
    assert trimmed_mean(X, f=1).tolist() == [1.0, 2.0]


def test_equal_rows_count_as_often_as_they_are_there() -> None:
    X = np.array([[0.0], [1.0], [1.0], [5.0], [9.0]])
    assert geometric_median(X).tolist() == [1.0]
    assert geometric_median(np.delete(X, 1, axis=0)).tolist() == [3.0]


def test_bulyan_selects_rows_of_the_whole_table_and_each_once() -> None:
    X = np.vstack([np.full((3, 4), 50.0) + np.arange(3)[:, None] * 20, sample(3, n=12, d=4)])
    got = aggregate(X, make_rule("bulyan", byzantine=3))
    assert len(got.verdict.excluded) == 6 and {0, 1, 2} <= set(got.verdict.excluded)
    assert np.abs(got.vector).max() < 2
    assert bulyan(X, f=3).tolist() == got.vector.tolist()


@pytest.mark.parametrize("value", [1e30, 1e18, -1e30])
def test_trimming_never_subtracts_what_it_trims(value: float) -> None:
    X = sample(4)
    expected = trimmed_mean(np.vstack([X[:10], np.full((1, 20), np.sign(value) * 100.0)]), f=2)
    X[10] = value
    assert np.array_equal(trimmed_mean(X, f=2), expected)


def test_centered_clipping_takes_a_centre_a_whole_number_and_any_kind_of_integer() -> None:
    X = sample(5)
    from_there = centered_clipping(X, center=np.ones(20), tau=10, iterations=3)
    assert not np.allclose(from_there, centered_clipping(X, tau=0.1))
    assert np.array_equal(trimmed_mean(X, f=np.int64(2)), trimmed_mean(X, f=2))  # type: ignore[arg-type]


def test_double_precision_tensors_stay_double_precision() -> None:
    X = torch.from_numpy(1.0 + 1e-10 * sample(6))
    for got in (median(X), geometric_median(X), krum(X, f=2), spectral(X, f=2)):
        assert isinstance(got, torch.Tensor) and got.dtype == torch.float64 and not bool((got == 1.0).all())


def test_clipping_does_not_write_into_the_callers_rows() -> None:
    X = sample(7)
    before = X.copy()
    assert not np.array_equal(clip_norms(X, tau=1.0), before) and not np.array_equal(arc(X, f=2), before)
    assert np.array_equal(X, before)


def test_the_spectral_filter_answers_the_same_every_time_and_always() -> None:
    X = sample(8)
    answers = {spectral(X, f=2).tobytes() for _ in range(8)}
    assert len(answers) == 1
    np.testing.assert_allclose(spectral(X, f=0), X.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(spectral(np.ones((5, 3)), f=1), np.ones(3), atol=1e-12)


def test_minimum_diameter_averaging_needs_no_enumeration() -> None:
    X = sample(9, n=50)
    X[:10] += 3.0
    assert set(aggregate(X, MDA(f=10)).verdict.excluded) == set(range(10))  # one of 1e10 sets


def test_the_rules_load_without_torch_or_plotting_and_work_on_numpy_when_torch_is_there() -> None:
    code = (
        "import sys, hedgerow.aggregation\n"
        "heavy = {'torch', 'torchvision', 'matplotlib', 'seaborn', 'scipy', 'flwr', 'opacus'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    X = sample(10)
    for plain in (mean, median, geometric_median):
        assert isinstance(plain(X), np.ndarray) and "torch" in sys.modules


def test_a_fraction_is_counted_without_losing_one_to_rounding() -> None:
    X = np.arange(100.0)[:, None] ** 2
    assert int(0.29 * 100) == 28
    assert np.array_equal(trimmed_mean(X, f=0.29), trimmed_mean(X, f=29))


def test_the_geometric_median_is_converged_and_moves_with_the_rows() -> None:
    X = np.array([[0.0], [3.0], [4.0], [5.0], [8.0]])
    assert geometric_median(X)[0] == pytest.approx(4.0)
    assert geometric_median(X + 100)[0] == pytest.approx(104.0)


def test_everyone_who_was_left_out_is_told() -> None:
    X = sample(11)
    X[4] = 1e5
    for name in STATELESS:
        rule = make_rule(name, byzantine=2)
        if Promise.SAFE in rule.promises:
            verdict = aggregate(X, rule).verdict
            if name != "centered-clipping":  # it weakens, and tells by its scores
                assert 4 in verdict.excluded and verdict.excluded[4], name
            assert verdict.scores is not None and verdict.scores[4] == verdict.scores.max(), name
    assert aggregate(X, Mean()).verdict.scores is None
    assert monna(X, f=2).shape == mda(X, f=2).shape
    assert TrimmedMean(f=2).reason
