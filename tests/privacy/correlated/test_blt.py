import numpy as np
import pytest

from hedgerow.errors import Misconfigured
from hedgerow.privacy.correlated import Blt, Participation, Workload, best_blt, error_of, sensitivity
from hedgerow.privacy.correlated.gain import Objective
from hedgerow.privacy.correlated.series import reciprocal

PATTERNS = [(1, 1, 1), (2, 1, 1), (50, 1, 50), (200, 10, 20), (1000, 1, 1)]


def loss(mechanism: Blt, p: Participation, workload: Workload, objective: Objective = "mean") -> float:
    column = mechanism.coefficients(workload.rounds)
    error = error_of(column, workload)
    return sensitivity(column, p) * (error.rms if objective == "mean" else error.last)


@pytest.mark.parametrize(
    ("buffers", "objective", "published"),
    [
        *((2, "mean", 3.07584), (3, "mean", 3.05108), (4, "mean", 3.04983)),
        *((2, "last", 3.32126), (3, "last", 3.26992), (4, "last", 3.26538)),
    ],
)
def test_buffers_are_as_good_as_jax_privacys(buffers: int, objective: Objective, published: float) -> None:
    """Recorded from jax_privacy 2.0.0, buffered_toeplitz.optimize(n=1000, error=…)."""
    once, workload = Participation(rounds=1000, min_separation=1, max_participations=1), Workload(rounds=1000)
    assert loss(best_blt(buffers, once, workload, objective), once, workload, objective) < published * 1.0003


@pytest.mark.parametrize(("rounds", "separation", "times"), PATTERNS)
@pytest.mark.parametrize("buffers", [1, 2, 5, 8])
def test_the_column_falls_so_that_its_sensitivity_is_known(
    rounds: int, separation: int, times: int, buffers: int
) -> None:
    p = Participation(rounds=rounds, min_separation=separation, max_participations=times)
    column = best_blt(buffers, p, Workload(rounds=rounds)).coefficients(rounds)
    assert column[0] == 1.0 and (column >= 0.0).all() and (np.diff(column) <= 0.0).all()
    assert sensitivity(column, p) >= 1.0


def test_buffers_never_do_worse_by_more_than_the_search_allows() -> None:
    several, workload = Participation(rounds=300, min_separation=30, max_participations=10), Workload(rounds=300)
    losses = [loss(best_blt(buffers, several, workload), several, workload) for buffers in range(1, 7)]
    assert all(more < fewer * 1.0001 for fewer, more in zip(losses, losses[1:], strict=False))


def test_momentum_and_rates_change_what_is_best() -> None:
    once, plain = Participation(rounds=80, min_separation=1, max_participations=1), Workload(rounds=80)
    fitted_to = Workload(rounds=80, momentum=0.9, rates=tuple(np.linspace(1.0, 0.0, 80).tolist()))
    assert loss(best_blt(3, once, fitted_to), once, fitted_to) < loss(best_blt(3, once, plain), once, fitted_to)


def test_the_inverse_fades_too() -> None:
    """1 / C has its own buffers (McMahan, Xu and Zhang, sec. 3): all terms after the first are negative."""
    once = Participation(rounds=100, min_separation=1, max_participations=1)
    inverse = reciprocal(best_blt(3, once, Workload(rounds=100)).coefficients(100), 100)
    assert inverse[0] == 1.0 and (inverse[1:] < 0.0).all()


@pytest.mark.parametrize("buffers", [0, 9])
def test_buffers_out_of_range_are_refused(buffers: int) -> None:
    once = Participation(rounds=9, min_separation=1, max_participations=1)
    with pytest.raises(Misconfigured) as caught:
        best_blt(buffers, once, Workload(rounds=9))
    assert (caught.value.code, caught.value.place) == ("E103", "buffers")


@pytest.mark.parametrize(
    ("weights", "decays"),
    [((), ()), ((0.5,), (0.5, 0.4)), ((0.5,), (1.0,)), ((-0.1,), (0.5,)), ((0.7, 0.7), (0.5, 0.4)), ((0.5,), (0.0,))],
)
def test_buffers_that_could_rise_are_refused(weights: tuple[float, ...], decays: tuple[float, ...]) -> None:
    with pytest.raises(Misconfigured) as caught:
        Blt(weights=weights, decays=decays)
    assert caught.value.code == "E103"
