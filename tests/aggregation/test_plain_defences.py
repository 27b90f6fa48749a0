"""Plain functions give what the defence gives in its first round."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from hedgerow.aggregation import (
    DnC,
    Flame,
    FLTrust,
    FoolsGold,
    Median,
    NormBound,
    Reputation,
    RobustLearningRate,
    Rule,
    SignGuard,
    aggregate,
    dnc,
    flame,
    fltrust,
    foolsgold,
    norm_bound,
    robust_learning_rate,
    sign_guard,
    wanted,
)
from hedgerow.errors import Misconfigured

Floats = npt.NDArray[np.float64]
G0 = np.random.default_rng(0).standard_normal(30)
SITES = [str(row) for row in range(9)]


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def sample(seed: int = 2) -> Floats:
    return 0.4 + np.random.default_rng(seed).standard_normal((9, 30))


PAIRS: dict[str, tuple[Callable[[Floats], Floats], Rule]] = {
    "fltrust": (lambda X: fltrust(X, G0), FLTrust()),
    "foolsgold": (foolsgold, FoolsGold()),
    "flame": (flame, Flame(epsilon=None)),
    "flame, noise": (lambda X: flame(X, epsilon=9.0, delta=0.1, rng=rng()), Flame(epsilon=9.0, delta=0.1)),
    "dnc": (lambda X: dnc(X, f=2), DnC(f=2)),
    "dnc, drawn": (
        lambda X: dnc(X, 1, filtering=2.0, coordinates=7, iterations=3, rng=rng()),
        DnC(f=1, filtering=2.0, coordinates=7, iterations=3),
    ),
    "sign_guard": (sign_guard, SignGuard(fraction=1.0)),
    "sign_guard, drawn": (
        lambda X: sign_guard(X, fraction=0.3, low=0.5, high=1.5, rng=rng()),
        SignGuard(fraction=0.3, low=0.5, high=1.5),
    ),
    "robust_learning_rate": (lambda X: robust_learning_rate(X, threshold=4), RobustLearningRate(threshold=4)),
    "norm_bound": (lambda X: norm_bound(X, tau=2.0), NormBound(tau=2.0)),
    "norm_bound, noise": (
        lambda X: norm_bound(X, tau=2.0, noise_multiplier=0.5, rng=rng()),
        NormBound(tau=2.0, noise_multiplier=0.5),
    ),
}
every = pytest.mark.parametrize(("plain", "rule"), PAIRS.values(), ids=PAIRS.keys())


@every
def test_it_is_the_vector_of_aggregate_and_nothing_is_changed(plain: Callable[[Floats], Floats], rule: Rule) -> None:
    X = sample()
    X.flags.writeable = False
    expected = aggregate(X, rule, sites=SITES, reference=G0, rng=rng()).vector
    assert np.array_equal(plain(X), expected) and np.array_equal(plain(X), expected)


@every
def test_a_tensor_gives_a_tensor(plain: Callable[[torch.Tensor], torch.Tensor], rule: Rule) -> None:
    X = torch.from_numpy(sample())
    got = plain(X)
    assert isinstance(got, torch.Tensor) and np.array_equal(got.numpy(), plain(X.numpy()))  # type: ignore[arg-type]


def test_a_history_is_what_the_rows_are_added_to() -> None:
    one, two = sample(3), sample(4)
    one[1] = one[0] = 9.0 * one[0]
    state = aggregate(one, FoolsGold(), sites=SITES).state
    expected = aggregate(two, FoolsGold(), sites=SITES, state=state).vector
    assert np.array_equal(foolsgold(two, history=one), expected)
    assert not np.allclose(foolsgold(two), expected, atol=1e-3)
    with pytest.raises(Misconfigured, match="E126"):
        foolsgold(two, history=one[:4])


@pytest.mark.parametrize(
    ("rule", "wants"),
    [
        (FLTrust(), {"reference"}),
        (FoolsGold(), {"sites"}),
        (Flame(), {"rng"}),
        (Flame(epsilon=None), set()),
        (SignGuard(fraction=1.0), set()),
        (NormBound(tau=1.0), set()),
        (Median(), set()),
        (Reputation(rule=RobustLearningRate(threshold=1, rule=DnC(f=1))), {"rng", "sites"}),
    ],
    ids=lambda value: " ".join(sorted(value)) if isinstance(value, set) else str(value),
)
def test_a_rule_says_what_it_must_be_given(rule: Rule, wants: set[str]) -> None:
    assert wanted(rule) == wants
    sites, reference = SITES if "sites" in wants else [], G0 if "reference" in wants else None
    aggregate(sample(), rule, sites=sites, reference=reference, rng=rng() if "rng" in wants else None)
