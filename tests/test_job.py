"""Tests of hedgerow.job: one job through three doors, and its digest."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured
from hedgerow.job import Aggregate, Job, Local, Privacy, Secure
from hedgerow.settings import Scalar, parse_overrides


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.one_of(st.floats(low, high, allow_nan=False), st.sampled_from([low, high]))


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Scalar]:
    """Some valid settings as dotted keys, in any order."""
    private: dict[str, Any] = {
        "privacy.unit": st.just("record"),
        "privacy.epsilon": floats(1e-3, 100),
        "privacy.delta": floats(1e-12, 0.5),
    }
    needed = private if draw(st.booleans()) else {"privacy.unit": st.just("none")}
    optional: dict[str, Any] = {
        "rounds": st.integers(1, 2**63 - 1),
        "evaluate": st.sampled_from(("server", "none")),
        "cohort.fraction": floats(1e-6, 1),
        "cohort.grace": floats(-0.0, 1e9),
        "local.lr": st.one_of(floats(1e-9, 10), st.integers(1, 10)),
        "local.momentum": floats(-0.0, 0.99),
        "server.lr": floats(1e-9, 10),
        "aggregate.rule": st.sampled_from(("mean", "krum", "trimmed-mean")),
        "leakage.gate": st.text(max_size=8),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(optional))))
    values = {key: draw(how) for key, how in needed.items()} | {key: draw(optional[key]) for key in sorted(chosen)}
    values["secure.mode"] = "off"
    return {key: values[key] for key in draw(st.permutations(sorted(values)))}


def toml(values: dict[str, Scalar]) -> str:
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()).replace(
        "\x7f", "\\u007f"
    )


@settings(deadline=None)
@given(jobs())
def test_a_job_comes_back_from_its_dotted_keys(values: dict[str, Scalar]) -> None:
    job = Job.from_flat(values)
    again = Job.from_flat(job.flat())
    assert again == job
    assert again.flat() == job.flat()
    assert again.digest() == job.digest()


@settings(deadline=None)
@given(jobs())
def test_a_job_comes_back_from_its_canonical_form(values: dict[str, Scalar]) -> None:
    job = Job.from_flat(values)
    assert Job.from_flat(json.loads(job.canonical())) == job


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(jobs())
def test_the_three_doors_lead_to_the_same_job(tmp_path: Path, values: dict[str, Scalar]) -> None:
    job = Job.from_flat(values)
    path = tmp_path / "job.toml"
    path.write_text(toml(values), encoding="utf-8")
    base: dict[str, Scalar] = {"privacy.unit": "none", "secure.mode": "off"}
    overridden = Job.from_flat(base).override(values)
    trees: dict[str, Any] = {key: value for key, value in values.items() if "." not in key}
    for name in PARTS:
        fields = {key.split(".")[1]: value for key, value in values.items() if key.startswith(f"{name}.")}
        trees[name] = type(getattr(job, name))(**fields)
    built = Job(**trees)
    for other in (Job.load(path), overridden, built):
        assert other == job
        assert other.digest() == job.digest()


PARTS = ("cohort", "local", "server", "privacy", "aggregate", "secure", "leakage")


@settings(deadline=None)
@given(jobs(), jobs())
def test_digests_are_equal_exactly_for_equal_jobs(one: dict[str, Scalar], other: dict[str, Scalar]) -> None:
    left, right = Job.from_flat(one), Job.from_flat(other)
    assert (left == right) == (left.digest() == right.digest())
    assert (left == right) <= (hash(left) == hash(right))


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("local.lr", 1, 1.0),
        ("cohort.grace", 0.0, -0.0),
        ("local.momentum", 0, -0.0),
        ("server.lr", 1, np.float64(1.0)),
        ("privacy.clip", 2, 2.0),
    ],
)
def test_one_number_written_in_two_ways_is_one_job(key: str, one: Scalar, other: Scalar) -> None:
    base: dict[str, Scalar] = {"privacy.unit": "none", "secure.mode": "off"}
    assert Job.from_flat({**base, key: one}).digest() == Job.from_flat({**base, key: other}).digest()


def test_every_setting_changes_the_digest() -> None:
    base: dict[str, Scalar] = {
        "privacy.unit": "record",
        "privacy.epsilon": 3.0,
        "privacy.delta": 1e-5,
        "secure.mode": "off",
    }
    words: dict[str, Scalar] = {
        "evaluate": "none",
        "local.optimizer": "adam",
        "server.optimizer": "yogi",
        "privacy.accountant": "prv",
        "aggregate.rule": "krum",
        "aggregate.before": "none",
        "leakage.gate": "auc <= 0.6",
    }
    # One value is possible beside the others.
    fixed = ("privacy.unit", "secure.mode", "aggregate.weights", "local.clip", "privacy.clip_quantile")
    job = Job.from_flat(base)
    seen = {job.digest()}
    for key in Job.keys():
        if key not in fixed:
            old = job.flat().get(key, 0.5)
            value = words[key] if key in words else old + 1 if isinstance(old, int) else float(old) / 2 + 0.001
            seen.add(job.override({key: value}).digest())
    assert len(seen) == 1 + len(Job.keys()) - len(fixed)


def test_the_digest_of_a_known_job_never_changes() -> None:
    """Golden: sites approve digests, so a change here is a change of every approved job."""
    job = Job(rounds=5, privacy=Privacy(unit="none"), secure=Secure(mode="off"), aggregate=Aggregate(before="clip+nnm"))
    assert job.canonical() == (
        '{"aggregate.before":"clip+nnm","aggregate.byzantine":1,"aggregate.rule":"trimmed-mean",'
        '"aggregate.weights":"uniform","cohort.deadline":600.0,"cohort.fraction":1.0,"cohort.grace":30.0,'
        '"cohort.over_select":0.0,"cohort.quorum":2,"evaluate":"server","leakage.gate":"","local.batch":32,'
        '"local.epochs":1,"local.lr":0.1,"local.momentum":0.0,"local.optimizer":"sgd","local.proximal":0.0,'
        '"local.weight_decay":0.0,"privacy.accountant":"rdp","privacy.clip":1.0,"privacy.unit":"none","rounds":5,'
        '"secure.mode":"off","server.beta2":0.99,"server.momentum":0.9,"server.optimizer":"avg","server.tau":0.001}'
    )
    assert job.digest() == "35d1c5022e8a4d919de5b953ae31c0c78b0628f9ea2f67281bb8c5a2e842fe6e"


@pytest.mark.parametrize(
    ("words", "code", "place"),
    [
        ("secure.mode=groups", "E106", "secure.mode"),
        ("privacy.unit=record", "E104", "privacy.unit"),
        ("privacy.unit=record privacy.epsilon=1", "E104", "privacy.unit"),
        ("privacy.epsilon=1", "E105", "privacy.unit"),
        ("privacy.unit=record privacy.epsilon=1 privacy.delta=1e-5 local.clip=1", "E105", "local.clip"),
        ("privacy.delta=0.1", "E105", "privacy.unit"),
        ("privacy.unit=record privacy.epsilon=1 privacy.delta=1e-5 evaluate=sites", "E105", "evaluate"),
        ("aggregate.weights=examples aggregate.rule=bulyan", "E105", "aggregate.weights"),
        ("privacy.unit=record privacy.epsilon=1 privacy.delta=1 ", "E103", ""),
        ("privacy.unit=record privacy.epsilon=0 privacy.delta=1e-5", "E103", ""),
    ],
)
def test_what_contradicts_itself_is_refused_with_its_key(words: str, code: str, place: str) -> None:
    base: dict[str, Scalar] = {"privacy.unit": "none", "secure.mode": "off"}
    with pytest.raises(Misconfigured) as caught:
        Job.from_flat({**base, **parse_overrides(words)})
    assert (caught.value.code, caught.value.place) == (code, place)


def test_switching_privacy_off_takes_the_budget_away() -> None:
    job = Job(privacy=Privacy(unit="record", epsilon=1.0, delta=1e-5), secure=Secure(mode="off"))
    off = job.override({"privacy.unit": "none"})
    assert (off.privacy.epsilon, off.privacy.delta) == (None, None)
    assert job.privacy.epsilon == 1.0


def test_a_job_cannot_be_changed() -> None:
    job = Job(privacy=Privacy(unit="none"), secure=Secure(mode="off"))
    with pytest.raises(FrozenInstanceError):
        job.rounds = 3  # type: ignore[misc]


@pytest.mark.parametrize(("optimizer", "rate"), [("avg", 1.0), ("avgm", 1.0), ("adam", 0.01), ("yogi", 0.01)])
def test_the_servers_step_fits_its_optimiser_unless_it_is_stated(optimizer: str, rate: float) -> None:
    base: dict[str, Scalar] = {"privacy.unit": "none", "secure.mode": "off", "server.optimizer": optimizer}
    assert Job.from_flat(base).server.learning_rate == rate
    assert Job.from_flat({**base, "server.lr": 0.3}).server.learning_rate == 0.3


def test_a_subtree_checks_itself_and_names_its_whole_key() -> None:
    with pytest.raises(Misconfigured) as caught:
        Local(lr=0)
    assert "'local.lr'" in caught.value.message


def test_a_job_is_found_by_folder_by_project_file_and_by_any_name(tmp_path: Path) -> None:
    body = "privacy.unit = 'none'\nsecure.mode = 'off'\nrounds = 3\n"
    (tmp_path / "pyproject.toml").write_text("[tool.flwr.app.config]\n" + body)
    (tmp_path / "job.toml").write_text(body)
    (tmp_path / "job").write_text(body)
    places = (tmp_path, tmp_path / "pyproject.toml", tmp_path / "job.toml", str(tmp_path / "job"))
    assert {Job.load(place).digest() for place in places} == {Job.load(tmp_path).digest()}
    with pytest.raises(Misconfigured) as caught:
        Job.load(tmp_path / "nothing")
    assert caught.value.code == "E110"


def test_a_batch_s_clip_is_none_unless_it_is_stated_and_changes_the_digest() -> None:
    base: dict[str, Scalar] = {"privacy.unit": "none", "secure.mode": "off"}
    job = Job.from_flat(base)
    clipped = Job.from_flat({**base, "local.clip": 0.5})
    assert job.local.clip == job.flat()["local.clip"] == 0.0
    assert clipped.local.clip == 0.5 and clipped.flat()["local.clip"] == 0.5
    assert clipped.digest() != job.digest()
    assert Job.from_flat(clipped.flat()) == clipped


@pytest.mark.parametrize("clip", [-1.0, float("inf"), float("nan")])
def test_a_batch_s_clip_is_no_negative_number(clip: float) -> None:
    with pytest.raises(Misconfigured) as caught:
        Local(clip=clip)
    assert caught.value.code in ("E102", "E103") and "local.clip" in caught.value.message
