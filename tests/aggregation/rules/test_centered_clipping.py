import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import NNM, CenteredClipping, aggregate, centered_clipping, nnm
from hedgerow.aggregation.given import State
from hedgerow.errors import Misconfigured

Floats = npt.NDArray[np.float64]


def reference(X: Floats, centre: Floats, tau: float | None, iterations: int) -> Floats:
    for _ in range(iterations):
        away = X - centre
        norms = np.linalg.norm(away, axis=1)
        limit = np.median(norms) if tau is None else tau
        centre = centre + (away * np.minimum(1, limit / np.maximum(norms, 1e-300))[:, None]).mean(axis=0)
    return centre


@given(
    seed=st.integers(0, 2**32 - 1),
    tau=st.none() | st.floats(0.01, 100),
    iterations=st.integers(1, 6),
    far=st.sampled_from([0.0, 1.0, 1e3]),
)
@settings(max_examples=40, deadline=None)
def test_it_agrees_with_its_definition_from_any_centre(
    seed: int, tau: float | None, iterations: int, far: float
) -> None:
    rng = np.random.default_rng(seed)
    X, centre = rng.standard_normal((9, 6)), far * rng.standard_normal(6)
    got = centered_clipping(X, center=centre, tau=tau, iterations=iterations)
    np.testing.assert_allclose(got, reference(X, centre, tau, iterations), atol=1e-9 * max(far, 1))


def test_its_centre_is_the_vector_of_the_round_before() -> None:
    rng = np.random.default_rng(0)
    rule = CenteredClipping(tau=0.5, iterations=1)
    state: State | None = None
    centre = np.zeros(4)
    for _ in range(5):
        X = 3 + rng.standard_normal((7, 4))
        result = aggregate(X, rule, state=state)
        centre, state = reference(X, centre, 0.5, 1), result.state
        np.testing.assert_allclose(result.vector, centre, atol=1e-12)
        assert state is not None and np.array_equal(state["center"], result.vector)


def test_calls_without_a_state_do_not_remember_each_other() -> None:
    X = np.random.default_rng(1).standard_normal((7, 4))
    first = centered_clipping(X + 5, tau=1.0)
    centered_clipping(X - 5, tau=1.0)
    assert np.array_equal(first, centered_clipping(X + 5, tau=1.0))


def test_one_hostile_row_moves_it_by_tau_over_n_a_step_however_long_it_is() -> None:
    X = np.random.default_rng(2).standard_normal((10, 6))
    for length in (1e3, 1e9, 1e30):
        bad = X.copy()
        bad[4] = length
        got = centered_clipping(bad, tau=2.0, iterations=1)
        without = (reference(np.delete(X, 4, axis=0), np.zeros(6), 2.0, 1)) * 9 / 10
        assert np.linalg.norm(got - without) == pytest.approx(0.2, abs=1e-9)


def test_scores_are_distances_to_the_vector_and_nobody_is_excluded() -> None:
    X = np.random.default_rng(3).standard_normal((9, 6))
    X[2] += 40
    result = aggregate(X, CenteredClipping())
    assert result.verdict.scores is not None and result.verdict.excluded == {}
    np.testing.assert_allclose(result.verdict.scores, np.linalg.norm(X - result.vector, axis=1), atol=1e-9)
    assert result.verdict.scores.argmax() == 2
    assert result.verdict.weights is not None
    np.testing.assert_allclose(result.verdict.weights @ X, result.vector, atol=1e-9)
    assert result.verdict.weights.sum() <= 1 and result.verdict.weights.argmin() == 2


def test_behind_mixing_and_on_tensors_it_reads_the_mixed_rows() -> None:
    X = np.random.default_rng(4).standard_normal((9, 6))
    got = aggregate(torch.from_numpy(X), NNM(f=2) | CenteredClipping(tau=1.0), state={"center": np.ones(6)})
    np.testing.assert_allclose(got.vector.numpy(), reference(nnm(X, f=2), np.ones(6), 1.0, 3), atol=1e-9)
    assert isinstance(got.state["center"], np.ndarray)


def test_what_makes_no_sense_is_refused() -> None:
    for bad in ({"tau": 0.0}, {"tau": np.inf}, {"iterations": 0}):
        with pytest.raises(Misconfigured, match="E103"):
            CenteredClipping(**bad)
    for centre in (np.zeros(3), np.full(4, np.nan)):
        with pytest.raises(Misconfigured, match="E126 the centre must be finite and of shape"):
            centered_clipping(np.eye(4), center=centre)
    assert len(centered_clipping(np.eye(4), tau=10)) == 4  # a whole number is a number
