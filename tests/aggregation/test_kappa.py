"""The proven robustness coefficients, on honest sets and colluding rows that come close to them."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from hedgerow.aggregation import ARC, NNM, GeometricMedian, Krum, Median, Rule, TrimmedMean, aggregate

Floats = npt.NDArray[np.float64]
SIZES = [(11, 2), (15, 3), (21, 5), (25, 7)]


def honest_sets(n: int, f: int) -> Iterator[Floats]:
    rng = np.random.default_rng(n)
    d = 5
    spike = np.zeros((n - f, 1))
    spike[:f] = 4.0
    yield spike
    yield rng.standard_normal((n - f, d))
    yield rng.choice([-1.0, 1.0], (n - f, d))
    yield rng.standard_normal((n - f, d)) * np.exp(rng.standard_normal((n - f, 1)))


def attacked(honest: Floats, f: int) -> Iterator[Floats]:
    centre, spread = honest.mean(axis=0), honest.std(axis=0)
    top = np.linalg.svd(honest - centre, full_matrices=False)[2][0] * np.linalg.norm(spread)
    for direction in (top, -spread, -centre):
        for z in (-10, -3, -1.5, -1, -0.5, 0.5, 1, 1.5, 3, 10):
            yield np.vstack([honest, np.repeat((centre + z * direction)[None], f, axis=0)])


def worst_ratio(rule: Rule, n: int, f: int) -> float:
    ratios = []
    for honest in honest_sets(n, f):
        centre = honest.mean(axis=0)
        variance = ((honest - centre) ** 2).sum(axis=1).mean()
        ratios += [float(((aggregate(X, rule).vector - centre) ** 2).sum() / variance) for X in attacked(honest, f)]
    return max(ratios)


@pytest.mark.parametrize(("n", "f"), SIZES)
def test_no_attack_exceeds_the_proven_coefficient(n: int, f: int) -> None:
    rules: list[Rule] = [
        TrimmedMean(f=f),
        Median(f=f),
        GeometricMedian(f=f),
        Krum(f=f, neighbours="n-f-1"),
        NNM(f=f) | TrimmedMean(f=f),
        NNM(f=f) | GeometricMedian(f=f),
        ARC(f=f) | TrimmedMean(f=f),
        ARC(f=f) | NNM(f=f) | TrimmedMean(f=f),
    ]
    for rule in rules:
        bound = rule.kappa(n)
        assert bound is not None
        assert 0.1 * f / (n - 2 * f) < worst_ratio(rule, n, f) <= bound, rule


@pytest.mark.parametrize(("n", "f"), SIZES)
def test_trimmed_mean_reaches_the_lower_bound_of_all_rules_so_it_trims_what_it_says(n: int, f: int) -> None:
    honest = next(honest_sets(n, f))
    variance = honest.var()
    hostile = np.zeros((f, 1))
    X = np.vstack([honest, hostile])
    reached = float((trimmed(X, f) - honest.mean()) ** 2 / variance)
    assert 0.99 * f / (n - 2 * f) <= reached <= 1.01 * f / (n - 2 * f)


def trimmed(X: Floats, f: int) -> float:
    return float(aggregate(X, TrimmedMean(f=f)).vector[0])
