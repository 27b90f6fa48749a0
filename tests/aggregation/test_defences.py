"""What holds for every defence that has a memory, a reference or randomness, whatever it computes."""

import json
import pickle

import numpy as np
import numpy.typing as npt
import pytest
import torch

from hedgerow.aggregation import (
    NNM,
    Aggregate,
    ClipNorms,
    DnC,
    Flame,
    FLDetector,
    FLTrust,
    FoolsGold,
    Mean,
    NormBound,
    Reputation,
    RobustLearningRate,
    Rule,
    SignGuard,
    TrimmedMean,
    aggregate,
)
from hedgerow.aggregation.given import State
from hedgerow.errors import Misconfigured

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.floating]
N, D = 9, 40
SITES = [f"site {letter}" for letter in "hgfedcbai"]

DEFENCES: dict[str, Rule] = {
    "FLTrust": FLTrust(),
    "FoolsGold": FoolsGold(),
    "Flame": Flame(),
    "DnC": DnC(f=2, coordinates=25),
    "SignGuard": SignGuard(fraction=0.5),
    "robust learning rate": RobustLearningRate(threshold=3, rule=NNM(f=2) | TrimmedMean(f=2)),
    "FLDetector": FLDetector(patience=1),
    "NormBound": NormBound(tau=4.0, noise_multiplier=0.5),
    "reputation": Reputation(rule=TrimmedMean(f=2), rounds=2),
    "clip, FoolsGold": ClipNorms() | FoolsGold(),
    "reputation around the robust learning rate": Reputation(rule=RobustLearningRate(threshold=3, rule=Mean(f=2))),
    "reputation around FoolsGold": Reputation(rule=FoolsGold(f=2)),
    "robust learning rate around reputation": RobustLearningRate(threshold=3, rule=Reputation(rule=TrimmedMean(f=2))),
}
REMEMBER = {"FoolsGold", "FLDetector", "reputation", "clip, FoolsGold", "reputation around FoolsGold"}

every = pytest.mark.parametrize("rule", DEFENCES.values(), ids=DEFENCES.keys())


def sample(seed: int, n: int = N) -> Floats:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(D) + 0.5 * rng.standard_normal((n, D))


def applied(rule: Rule, X: Rows, state: State | None = None, *, sites: list[str] = SITES) -> Aggregate[Rows]:
    reference = np.random.default_rng(5).standard_normal(D)
    return aggregate(X, rule, sites=sites, reference=reference, state=state, rng=np.random.default_rng(6))


def rounds(rule: Rule, number: int, order: npt.NDArray[np.intp] | None = None) -> list[Aggregate[Rows]]:
    """Some rounds of the same three-times reversed attackers, the state carried, rows and sites in some order."""
    order = np.arange(N) if order is None else order
    results: list[Aggregate[Rows]] = []
    state: State = {}
    for number in range(number):
        X = sample(number)
        X[[1, 4]] *= -3.0
        results.append(applied(rule, X[order], state, sites=[SITES[row] for row in order]))
        state = results[-1].state
    return results


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k], equal_nan=True) for k in one)


@every
def test_the_order_of_rows_and_sites_does_not_matter(rule: Rule) -> None:
    order = np.random.default_rng(7).permutation(N)
    for one, other in zip(rounds(rule, 5), rounds(rule, 5, order), strict=True):
        np.testing.assert_allclose(other.vector, one.vector, atol=1e-9)
        assert {int(order[row]) for row in other.verdict.excluded} == set(one.verdict.excluded)
        assert one.state.keys() == other.state.keys()
        for name, values in one.state.items():
            if values.dtype == np.uint8:
                assert np.array_equal(values, other.state[name])
            else:
                np.testing.assert_allclose(other.state[name].astype(float), values.astype(float), atol=1e-9)


@every
def test_nothing_is_written_to_and_the_same_input_gives_the_same_bits(rule: Rule) -> None:
    state = {name: values.copy() for name, values in rounds(rule, 4)[-1].state.items()}
    X, before = sample(8), {name: values.copy() for name, values in state.items()}
    X.flags.writeable = False
    for values in state.values():
        values.flags.writeable = False
    one, other = applied(rule, X, state), applied(rule, X, state)
    assert np.array_equal(one.vector, other.vector) and same(one.state, other.state)
    assert same(state, before) and one.verdict.excluded == other.verdict.excluded
    for values in one.state.values():
        assert not any(np.shares_memory(values, given) for given in (X, *state.values()))


@every
def test_a_state_of_arrays_carries_the_memory_on_through_a_checkpoint(rule: Rule) -> None:
    results = rounds(rule, 6)
    for name, values in results[4].state.items():
        if name.endswith("sites"):
            assert sorted(json.loads(values.tobytes())) == sorted(SITES)
    stored = {
        name: np.frombuffer(values.tobytes(), values.dtype).reshape(values.shape)
        for name, values in results[4].state.items()
    }
    X = sample(5)
    X[[1, 4]] *= -3.0
    again = applied(rule, X, stored)
    assert np.array_equal(again.vector, results[5].vector) and same(again.state, results[5].state)


@pytest.mark.parametrize("name", sorted(REMEMBER))
def test_a_memory_makes_a_difference(name: str) -> None:
    X = sample(9)
    X[[1, 4]] *= -3.0
    fresh, later = applied(DEFENCES[name], X), applied(DEFENCES[name], X, rounds(DEFENCES[name], 6)[-1].state)
    assert not np.allclose(fresh.vector, later.vector, atol=1e-3)


@pytest.mark.parametrize("name", sorted(REMEMBER))
def test_who_remembers_must_be_told_whose_rows_these_are_and_only_once_each(name: str) -> None:
    with pytest.raises(Misconfigured, match="E105 .* whose row"):
        applied(DEFENCES[name], sample(10), sites=[])
    with pytest.raises(Misconfigured, match="E105 .* twice"):
        applied(DEFENCES[name], sample(10), sites=[*SITES[:-1], SITES[0]])
    with pytest.raises(Misconfigured, match="E126|E105"):
        applied(DEFENCES[name], sample(10), sites=SITES[:-1])


@pytest.mark.parametrize("name", ["FoolsGold", "FLDetector"])
def test_a_state_of_another_model_is_refused(name: str) -> None:
    state = applied(DEFENCES[name], sample(11)).state
    with pytest.raises(Misconfigured, match="E105 .* 40 numbers"):
        aggregate(sample(11)[:, :7], DEFENCES[name], sites=SITES, state=state)


@pytest.mark.parametrize("name", ["Flame", "DnC", "SignGuard", "NormBound"])
def test_who_draws_must_be_given_a_generator_and_nobody_draws_from_a_global_one(name: str) -> None:
    with pytest.raises(Misconfigured, match="E105 .* generator"):
        aggregate(sample(12), DEFENCES[name])
    np.random.seed(0)
    before = str(np.random.get_state())
    applied(DEFENCES[name], sample(12))
    assert str(np.random.get_state()) == before


@every
def test_a_row_that_is_not_finite_is_left_out_and_the_memory_stays_finite(rule: Rule) -> None:
    X = sample(13)
    state = applied(rule, X).state
    X[3, 7] = np.nan
    result = applied(rule, X, state)
    assert np.isfinite(result.vector).all() and result.verdict.excluded[3] == "not finite"
    for name, values in result.state.items():
        assert name.endswith("scores") or np.isfinite(values.astype(float)).all(), name


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_as_long_as_their_dtype_allows_leave_a_usable_memory(rule: Rule, dtype: type[np.floating]) -> None:
    state: State = {}
    for number in range(4):
        X = sample(number).astype(dtype)
        X[1] = 5e37 if dtype is np.float32 else 1e149
        state = applied(rule, X, state).state
    result = applied(rule, sample(5).astype(dtype), state)
    assert result.verdict.finite.all() and np.isfinite(result.vector).all()


@every
def test_equal_rows_zero_rows_and_rows_of_one_number_are_no_special_case(rule: Rule) -> None:
    row = sample(14, n=1)
    equal = np.repeat(row, N, axis=0)
    some = sample(15)
    some[[0, 5]] = 0.0
    for X in (equal, np.zeros((N, D)), some):
        for result in (applied(rule, X), applied(rule, X, applied(rule, X).state)):
            assert np.isfinite(result.vector).all() and np.linalg.norm(result.vector) < 30
    assert np.isfinite(aggregate(some[:, :1], rule, sites=SITES, reference=np.ones(1), rng=_rng()).vector).all()


@pytest.mark.parametrize(
    "rule",
    [
        FLTrust(),
        FoolsGold(),
        Flame(epsilon=None),
        DnC(f=0),
        SignGuard(fraction=1.0),
        RobustLearningRate(threshold=1),
        FLDetector(),
        NormBound(tau=100.0),
        Reputation(rule=TrimmedMean(f=0)),
    ],
    ids=str,
)
def test_one_row_alone_is_the_vector(rule: Rule) -> None:
    X = sample(16, n=1)
    result = aggregate(X, rule, sites=["a"], reference=X[0])
    np.testing.assert_allclose(result.vector, X[0], atol=1e-12)
    assert result.verdict.excluded == {}


@every
def test_torch_gives_the_same_bits_as_numpy_and_float32_agrees(rule: Rule) -> None:
    X = sample(17).astype(np.float32)
    from_numpy = applied(rule, X)
    from_torch = aggregate(
        torch.from_numpy(X), rule, sites=SITES, reference=np.random.default_rng(5).standard_normal(D), rng=_rng()
    )
    assert from_numpy.vector.dtype == np.float32 and np.array_equal(from_torch.vector.numpy(), from_numpy.vector)
    np.testing.assert_allclose(from_numpy.vector, applied(rule, X.astype(np.float64)).vector, atol=1e-4)


@every
def test_defences_are_values_that_cross_processes(rule: Rule) -> None:
    assert pickle.loads(pickle.dumps(rule)) == rule and hash(rule) == hash(rule)
    result = rounds(rule, 3)[-1]
    again = pickle.loads(pickle.dumps(result))
    assert np.array_equal(again.vector, result.vector) and same(again.state, result.state)


@every
def test_every_defence_says_what_it_assumes_costs_and_when_it_fails(rule: Rule) -> None:
    text = type(rule if not hasattr(rule, "parts") else rule.last).__doc__ or ""
    for word in ("Verdict:", "Assumption:", "κ:", "Breakdown:", "Fails ", "Cost:", "Source:", "Raises:"):
        assert word in text, word


@every
def test_one_long_run_of_columns_gives_what_its_blocks_give(rule: Rule) -> None:
    wide = np.tile(sample(18), (1, 600))  # 24000 columns: several blocks
    reference = np.tile(np.random.default_rng(5).standard_normal(D), 600)
    results = [
        aggregate(X, rule, sites=SITES, reference=reference, rng=_rng()) for X in (wide, np.asfortranarray(wide))
    ]
    np.testing.assert_allclose(results[0].vector, results[1].vector, atol=1e-9)
    assert results[0].verdict.excluded == results[1].verdict.excluded


def _rng() -> np.random.Generator:
    return np.random.default_rng(6)
