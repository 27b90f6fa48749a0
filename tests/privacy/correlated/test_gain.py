import math

import numpy as np
import pytest

from hedgerow.privacy.correlated import Participation, Workload, error_of, sensitivity
from hedgerow.privacy.correlated.gain import Objective, log_loss
from hedgerow.privacy.correlated.series import square_root

EULER = 0.5772156649015329


def test_errors_are_those_of_the_dense_factorisation() -> None:
    workload = Workload(rounds=30, momentum=0.8, rates=tuple(np.linspace(2.0, 0.5, 30).tolist()))
    column = 0.9 ** np.arange(30) / (1 + np.arange(30))
    c = sum((np.diag(np.full(30 - k, value), -k) for k, value in enumerate(column)), np.zeros((30, 30)))
    rows = np.sqrt(((workload.matrix() @ np.linalg.inv(c)) ** 2).sum(axis=1))
    error = error_of(column, workload)
    assert error.rms == pytest.approx(math.sqrt((rows**2).mean()))
    assert error.max == pytest.approx(rows.max())
    assert error.last == pytest.approx(rows[-1])


@pytest.mark.parametrize("n", [1, 10, 100, 1000, 5000])
def test_the_square_root_keeps_the_published_bound(n: int) -> None:
    """Fichtenberger, Henzinger and Upadhyay 2023: max error × sensitivity ≤ 1 + (γ + log n) / π; about log n / π."""
    column = square_root(np.ones(n))
    once = Participation(rounds=n, min_separation=1, max_participations=1)
    loss = sensitivity(column, once) * error_of(column, Workload(rounds=n)).max
    assert max(1.0, (EULER + math.log(n)) / math.pi) <= loss <= 1 + (EULER + math.log(n)) / math.pi


@pytest.mark.parametrize("objective", ["mean", "last"])
@pytest.mark.parametrize("rates", [(), tuple(np.linspace(1.0, 0.2, 24).tolist())])
def test_the_loss_is_variance_at_a_fixed_guarantee_and_its_gradient_is_the_slope(
    objective: Objective, rates: tuple[float, ...]
) -> None:
    workload = Workload(rounds=24, momentum=0.5, rates=rates)
    several = Participation(rounds=24, min_separation=5, max_participations=3)
    column = 0.8 ** np.arange(24) / (1 + np.arange(24))
    value, gradient = log_loss(column, several, workload, objective)
    error = error_of(column, workload)
    chosen = error.rms if objective == "mean" else error.last
    assert value == pytest.approx(2 * math.log(sensitivity(column, several) * chosen))
    step = np.random.default_rng(0).normal(size=24)
    ahead, behind = (log_loss(column + by * step, several, workload, objective)[0] for by in (1e-6, -1e-6))
    assert float(gradient @ step) == pytest.approx((ahead - behind) / 2e-6, rel=1e-6)


def test_scaling_the_factorisation_changes_nothing() -> None:
    column, workload = np.array([1.0, 0.5, 0.2]), Workload(rounds=9)
    once = Participation(rounds=9, min_separation=1, max_participations=1)
    assert log_loss(7 * column, once, workload, "mean")[0] == pytest.approx(log_loss(column, once, workload, "mean")[0])
