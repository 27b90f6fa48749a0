import math

import numpy as np
import pytest

from hedgerow.errors import Misconfigured
from hedgerow.privacy.correlated import Banded, Participation, Workload, best_banded, error_of, sensitivity
from hedgerow.privacy.correlated.gain import Objective


def loss(mechanism: Banded, p: Participation, workload: Workload, objective: Objective = "mean") -> float:
    column = mechanism.coefficients(workload.rounds)
    error = error_of(column, workload)
    return sensitivity(column, p) * (error.rms if objective == "mean" else error.last)


@pytest.mark.parametrize(
    ("bands", "objective", "published"),
    [(4, "mean", 11.4310), (16, "mean", 6.2782), (64, "mean", 4.0349), (4, "last", 16.0288), (16, "last", 8.5336)],
)
def test_bands_are_as_good_as_jax_privacys(bands: int, objective: Objective, published: float) -> None:
    """Recorded from jax_privacy 2.0.0, optimize_banded_toeplitz(1000, bands, max_optimizer_steps=1000)."""
    once, workload = Participation(rounds=1000, min_separation=1, max_participations=1), Workload(rounds=1000)
    assert loss(best_banded(bands, once, workload, objective), once, workload, objective) < published * 1.0001


@pytest.mark.parametrize("objective", ["mean", "last"])
def test_more_bands_never_do_worse(objective: Objective) -> None:
    several, workload = Participation(rounds=200, min_separation=20, max_participations=10), Workload(rounds=200)
    losses = [loss(best_banded(b, several, workload, objective), several, workload, objective) for b in range(1, 21)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(math.sqrt(10 * (100.5 if objective == "mean" else 200)))
    assert losses[-1] < losses[0] / 2


def test_nothing_nearby_is_better() -> None:
    several, workload = (
        Participation(rounds=60, min_separation=6, max_participations=4),
        Workload(rounds=60, momentum=0.7),
    )
    best = best_banded(6, several, workload)
    rng = np.random.default_rng(1)
    for size in (1e-1, 1e-2, 1e-3):
        for step in rng.normal(size=(20, 5)) * size:
            moved = Banded(bands=(1.0, *(np.array(best.bands[1:]) + step).tolist()))
            assert loss(moved, several, workload) > loss(best, several, workload) * (1 - 1e-9)


def test_learning_rates_and_momentum_change_what_is_best() -> None:
    once = Participation(rounds=80, min_separation=1, max_participations=1)
    plain = Workload(rounds=80)
    fitted_to = Workload(rounds=80, momentum=0.9, rates=tuple(np.linspace(1.0, 0.0, 80).tolist()))
    assert loss(best_banded(8, once, fitted_to), once, fitted_to) < loss(best_banded(8, once, plain), once, fitted_to)


def test_one_band_or_one_round_is_independent_noise() -> None:
    once = Participation(rounds=5, min_separation=1, max_participations=1)
    assert best_banded(1, once, Workload(rounds=5)) == Banded(bands=(1.0,))
    alone = Participation(rounds=1, min_separation=1, max_participations=1)
    assert best_banded(1, alone, Workload(rounds=1)).memory == 0


def test_more_bands_than_the_separation_are_refused() -> None:
    several = Participation(rounds=9, min_separation=3, max_participations=2)
    with pytest.raises(Misconfigured) as caught:
        best_banded(4, several, Workload(rounds=9))
    assert (caught.value.code, caught.value.place) == ("E105", "bands")


@pytest.mark.parametrize("bands", [0, 10])
def test_bands_out_of_range_are_refused(bands: int) -> None:
    once = Participation(rounds=9, min_separation=1, max_participations=1)
    with pytest.raises(Misconfigured) as caught:
        best_banded(bands, once, Workload(rounds=9))
    assert caught.value.code == "E103"


@pytest.mark.parametrize("bands", [(), (0.5,), (1.0, float("nan"))])
def test_bands_that_mean_nothing_are_refused(bands: tuple[float, ...]) -> None:
    with pytest.raises(Misconfigured):
        Banded(bands=bands)
