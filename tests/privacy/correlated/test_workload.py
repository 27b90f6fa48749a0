import numpy as np
import pytest

from hedgerow.errors import Misconfigured
from hedgerow.privacy.correlated import Workload

RATES = (0.5, 1.0, 0.0, 2.0, 0.25, 1.5, 1.0)
WORKLOADS = (
    Workload(rounds=1),
    Workload(rounds=7),
    Workload(rounds=7, momentum=0.9),
    Workload(rounds=7, rates=RATES),
    Workload(rounds=7, momentum=0.6, rates=RATES),
    Workload(rounds=600, momentum=0.5, rates=tuple(np.linspace(1.0, 0.1, 600).tolist())),
)


def trained(workload: Workload, x: np.ndarray) -> np.ndarray:
    """The models that momentum steps go through."""
    models, model, velocity = [], 0.0, 0.0
    for t in range(workload.rounds):
        velocity = workload.momentum * velocity + x[t]
        model += (workload.rates[t] if workload.rates else 1.0) * velocity
        models.append(model)
    return np.array(models)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_matrix_is_what_training_does(workload: Workload) -> None:
    x = np.random.default_rng(3).normal(size=workload.rounds)
    np.testing.assert_allclose(workload.matrix() @ x, trained(workload, x), atol=1e-10)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_squared_errors_are_the_row_norms_of_the_dense_decoder(workload: Workload) -> None:
    n = workload.rounds
    noise = np.random.default_rng(4).normal(size=n)
    inverse = sum((np.diag(np.full(n - k, value), -k) for k, value in enumerate(noise)), np.zeros((n, n)))
    expected = ((workload.matrix() @ inverse) ** 2).sum(axis=1)
    np.testing.assert_allclose(workload.squared_errors(workload.decoder(noise)), expected, rtol=1e-10)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_gradient_is_the_slope(workload: Workload) -> None:
    rng = np.random.default_rng(5)
    decoder, weights, step = rng.normal(size=(3, workload.rounds))

    def value(by: float) -> float:
        return float(weights @ workload.squared_errors(decoder + by * step))

    slope = (value(1e-3) - value(-1e-3)) / 2e-3  # exact for a quadratic, but for rounding
    gradient = workload.squared_error_gradient(decoder, weights)
    assert float(gradient @ step) == pytest.approx(slope, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"rounds": 0}, "rounds"),
        ({"rounds": 1 << 20}, "rounds"),
        ({"rounds": 2, "momentum": 1.0}, "momentum"),
        ({"rounds": 2, "momentum": float("nan")}, "momentum"),
        ({"rounds": 2, "rates": (1.0,)}, "rates"),
        ({"rounds": 2, "rates": (0.0, 1.0)}, "rates"),
        ({"rounds": 2, "rates": (1.0, float("inf"))}, "rates"),
        ({"rounds": 5000, "rates": (1.0,) * 5000}, "rounds"),
    ],
)
def test_numbers_out_of_range_are_named(settings: dict[str, object], place: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Workload(**settings)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.place) == ("E103", place)
