import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from hedgerow.aggregation import (
    ARC,
    BEFORE,
    MDA,
    NNM,
    RULES,
    Bucketing,
    Bulyan,
    ClipNorms,
    Krum,
    Mean,
    TrimmedMean,
    aggregate,
    check_names,
    make_rule,
    minimum_rows,
    supports_weights,
)
from hedgerow.errors import Misconfigured
from hedgerow.job import Job


def test_the_names_are_those_of_a_job_file() -> None:
    stateless = ["mean", "median", "trimmed-mean", "meamed", "phocas", "krum", "multi-krum", "bulyan", "mda", "monna"]
    assert [*stateless, "geometric-median", "centered-clipping", "spectral"] == list(RULES)[:13]
    assert list(BEFORE) == ["clip", "reject", "arc", "nnm", "bucketing"]


def test_a_name_makes_the_rule_it_says() -> None:
    assert make_rule("mean", byzantine=0) == Mean(f=0)
    assert make_rule("krum", byzantine=2, strict=False) == Krum(f=2, strict=False)
    assert make_rule("trimmed-mean", byzantine=2, before="clip+nnm") == ClipNorms() | NNM(f=2) | TrimmedMean(f=2)
    assert make_rule("mda", byzantine=2, before="bucketing+arc+nnm") == Bucketing() | ARC(f=2) | NNM(f=2) | MDA(f=2)
    assert make_rule("bulyan", byzantine=1, before="none", strict=False) == Bulyan(f=1, strict=False)


@pytest.mark.parametrize(("rule", "before"), list(product(RULES, ["none", *BEFORE, "arc+nnm", "bucketing+nnm"])))
@pytest.mark.parametrize("strict", [True, False])
def test_the_stated_minimum_is_enough_and_one_fewer_raises(rule: str, before: str, strict: bool) -> None:
    fewest = minimum_rows(rule, 2, before=before, strict=strict)
    made = make_rule(rule, byzantine=2, before=before, strict=strict)
    X = np.random.default_rng(0).standard_normal((fewest, 4))
    if rule in ("monna", "foolsgold", "fl-detector") and "bucketing" in before:
        pytest.skip("no bucket is a single site's own row")
    given = {"sites": [str(row) for row in range(fewest)], "reference": X[0], "rng": np.random.default_rng(0)}
    assert np.isfinite(aggregate(X, made, **given).vector).all()
    with pytest.raises(Misconfigured, match="E103"):
        aggregate(X[1:], made, **given | {"sites": given["sites"][1:]})


def test_rules_that_judge_by_mass_take_weights_and_the_others_refuse_them() -> None:
    taking = {"mean", "median", "trimmed-mean", "krum", "multi-krum", "mda", "monna", "geometric-median"}
    for name in list(RULES)[:13]:
        for before in ("none", *BEFORE):
            assert supports_weights(name, before) == (name in taking), (name, before)
    X = np.random.default_rng(0).standard_normal((11, 3))
    for name in ("meamed", "phocas", "bulyan", "spectral", "centered-clipping"):
        with pytest.raises(Misconfigured, match="E105"):
            aggregate(X, make_rule(name, byzantine=2), weights=np.ones(11))


@pytest.mark.parametrize(
    ("rule", "before", "near"),
    [
        ("trimmed_mean", "none", "trimmed-mean"),
        ("Krum", "none", "krum"),
        ("mean", "clip+nmn", "nnm"),
        ("mean", "ark+nnm", "arc"),
    ],
)
def test_an_unknown_name_brings_the_nearest_one(rule: str, before: str, near: str) -> None:
    with pytest.raises(
        Misconfigured, match=f"E103 'aggregate\\..*' cannot be .*; did you mean '{re.escape(near)}'"
    ) as caught:
        make_rule(rule, byzantine=1, before=before)
    assert caught.value.code == "E103"


@pytest.mark.parametrize(
    ("rule", "before", "hint"),
    [
        ("nnm", "none", "'nnm' is a step before the rule: write it into aggregate.before"),
        ("mean", "clip+median", "'median' is a rule: write it into aggregate.rule"),
        ("mean", "none+nnm", "write 'none' alone, or leave it out"),
        ("mean", "nnm+nnm", "write 'nnm' once, at its place in the order"),
        (
            "mean",
            "arc,nnm",
            "did you mean 'nnm'? the choices are 'none', or steps joined with '+': clip, reject, arc, nnm",
        ),
        ("banana", "none", "the choices are mean, median"),
    ],
)
def test_a_name_at_the_wrong_place_is_told_where_it_belongs(rule: str, before: str, hint: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        make_rule(rule, byzantine=1, before=before)
    assert caught.value.code == "E103" and caught.value.hint.startswith(hint)


def test_names_and_numbers_are_checked_by_every_door() -> None:
    for call in (
        lambda: minimum_rows("kurm", 1),
        lambda: supports_weights("kurm"),
        lambda: make_rule("krum", byzantine=-1),
    ):
        with pytest.raises(Misconfigured, match="E103"):
            call()


@pytest.mark.parametrize("before", ["", "+", "clip+", "none+nnm", "nnm+nnm", "arc nnm"])
def test_steps_are_joined_with_plus_each_once_and_none_stands_alone(before: str) -> None:
    with pytest.raises(Misconfigured, match="E103 'aggregate.before'") as caught:
        make_rule("mean", byzantine=1, before=before)
    assert caught.value.place == "aggregate.before"


@pytest.mark.parametrize(
    ("key", "value"),
    [("aggregate.rule", "trimed-mean"), ("aggregate.before", "arc+nmn"), ("aggregate.before", "clip-nnm")],
)
def test_a_job_refuses_a_name_that_nobody_knows(key: str, value: str) -> None:
    with pytest.raises(Misconfigured, match="E103") as caught:
        Job.from_flat({"privacy.unit": "none", "secure.mode": "off", key: value})
    assert caught.value.place == key and "did you mean" in caught.value.hint
    job = Job.from_flat({"privacy.unit": "none", "secure.mode": "off"})
    check_names(job.aggregate.rule, job.aggregate.before)  # which a job that says nothing does not ask


def test_a_job_says_in_which_line_a_name_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text('privacy.unit = "none"\nsecure.mode = "off"\naggregate.rule = "krumm"\n')
    with pytest.raises(Misconfigured, match=r"E103 'aggregate.rule' cannot be 'krumm' \(.*job.toml:3\)"):
        Job.from_toml(path)
