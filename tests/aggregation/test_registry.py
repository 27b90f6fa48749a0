import re
from itertools import product

import numpy as np
import pytest

from hedgerow.aggregation import (
    BEFORE,
    NNM,
    RULES,
    ClipNorms,
    Krum,
    Mean,
    TrimmedMean,
    aggregate,
    make_rule,
    minimum_rows,
    supports_weights,
)
from hedgerow.errors import Misconfigured


def test_the_names_are_those_of_a_job_file() -> None:
    assert list(RULES) == ["mean", "median", "trimmed-mean", "krum", "multi-krum", "geometric-median"]
    assert list(BEFORE) == ["none", "clip", "nnm", "clip+nnm"]


def test_a_name_makes_the_rule_it_says() -> None:
    assert make_rule("mean", byzantine=0) == Mean(f=0)
    assert make_rule("krum", byzantine=2, strict=False) == Krum(f=2, strict=False)
    assert make_rule("trimmed-mean", byzantine=2, before="clip+nnm") == ClipNorms() | NNM(f=2) | TrimmedMean(f=2)


@pytest.mark.parametrize(("rule", "before"), list(product(RULES, BEFORE)))
@pytest.mark.parametrize("strict", [True, False])
def test_the_stated_minimum_is_enough_and_one_fewer_raises(rule: str, before: str, strict: bool) -> None:
    fewest = minimum_rows(rule, 2, before=before, strict=strict)
    made = make_rule(rule, byzantine=2, before=before, strict=strict)
    X = np.random.default_rng(0).standard_normal((fewest, 4))
    assert np.isfinite(aggregate(X, made).vector).all()
    with pytest.raises(Misconfigured, match="E103"):
        aggregate(X[1:], made)


def test_only_the_mean_takes_weights() -> None:
    assert [name for name in RULES if supports_weights(name)] == ["mean"]


@pytest.mark.parametrize(
    ("rule", "before", "near"),
    [("trimmed_mean", "none", "trimmed-mean"), ("Krum", "none", "krum"), ("mean", "clip-nnm", "clip+nnm")],
)
def test_an_unknown_name_brings_the_nearest_one(rule: str, before: str, near: str) -> None:
    with pytest.raises(
        Misconfigured, match=f"E103 unknown name .* \\(aggregate\\..*\\); did you mean '{re.escape(near)}'"
    ) as caught:
        make_rule(rule, byzantine=1, before=before)
    assert caught.value.code == "E103"


def test_names_and_numbers_are_checked_by_every_door() -> None:
    for call in (
        lambda: minimum_rows("kurm", 1),
        lambda: supports_weights("kurm"),
        lambda: make_rule("krum", byzantine=-1),
    ):
        with pytest.raises(Misconfigured, match="E103"):
            call()
