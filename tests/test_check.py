"""Tests of hedgerow.check: every contradiction is said before a round runs, and a user's mistake never raises."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hedgerow.aggregation import minimum_rows
from hedgerow.check import check_job
from hedgerow.errors import HedgerowError, Refused
from hedgerow.findings import LEVELS, Finding, refuse_errors
from hedgerow.job import Job
from hedgerow.privacy.accounting import calibrate
from hedgerow.settings import Scalar
from hedgerow.task import Data, Site, Split, Task

OPEN: dict[str, Scalar] = {"privacy.unit": "none", "secure.mode": "off"}
PRIVATE: dict[str, Scalar] = {
    "privacy.unit": "record",
    "privacy.epsilon": 8.0,
    "privacy.delta": 1e-5,
    "secure.mode": "off",
    "rounds": 2,
}


def records(count: int, *, seed: int = 0) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.normal(size=(count, 3)).astype(np.float32), np.arange(count) % 2)


class Tiny(Task):
    """Three features, two labels; each site has records of its own."""

    labels = ("no", "yes")
    size = 40

    def model(self) -> nn.Module:
        return nn.Linear(3, 2)

    def data(self, site: Site) -> Data:
        return Data(records(self.size + site.index % 5, seed=site.index), records(0))

    def held_out(self) -> Split | None:
        return records(30, seed=10**6)


def sites(count: int) -> list[Site]:
    return [Site(name=f"site-{index}", index=index, count=count) for index in range(count)]


def check(task: Task, count: int = 5, **changes: Scalar) -> list[Finding]:
    base = PRIVATE if changes.pop("private", False) else OPEN
    values = {key.replace("__", "."): value for key, value in changes.items()}
    return check_job(Job.from_flat({**base, **values}), task, sites(count))


def codes(findings: list[Finding], level: str = "error") -> list[str]:
    return [finding.code for finding in findings if finding.level == level]


def task(**methods: Callable[..., Any]) -> Task:
    """A `Tiny` with some methods replaced."""
    kind = type("Changed", (Tiny,), methods)
    made: Task = kind()
    return made


def test_a_good_job_has_no_error_and_can_start() -> None:
    findings = check(Tiny(), cohort__quorum=3)
    assert [finding for finding in findings if finding.level != "note"] == []
    refuse_errors(findings)


def test_a_private_job_says_what_each_record_is_promised() -> None:
    findings = check(Tiny(), private=True, cohort__quorum=3)
    assert codes(findings) == []
    promise = next(finding.message for finding in findings if "ε ≤" in finding.message)
    assert "δ = 1e-05 over 2 rounds" in promise
    assert 0 < float(promise.split("ε ≤ ")[1].split()[0]) <= 8.0
    assert any("noise multiplier" in finding.message for finding in findings)


@given(
    count=st.integers(1, 12),
    fraction=st.floats(0.01, 1),
    over=st.sampled_from([0.0, 0.5, 1.0]),
    quorum=st.integers(1, 12),
    byzantine=st.integers(0, 3),
    rule=st.sampled_from(["mean", "median", "trimmed-mean", "krum", "multi-krum", "geometric-median"]),
    before=st.sampled_from(["none", "clip", "nnm", "clip+nnm"]),
)
@settings(deadline=None, max_examples=60)
def test_a_cohort_is_judged_by_what_the_quorum_and_the_rule_need(
    count: int, fraction: float, over: float, quorum: int, byzantine: int, rule: str, before: str
) -> None:
    job = Job.from_flat(
        {
            **OPEN,
            "cohort.fraction": fraction,
            "cohort.over_select": over,
            "cohort.quorum": quorum,
            "aggregate.byzantine": byzantine,
            "aggregate.rule": rule,
            "aggregate.before": before,
        }
    )
    needed = minimum_rows(rule, byzantine, before)
    asked = min(count, math.ceil(count * fraction * (1 + over) - 1e-9))
    about = [f for f in check_job(job, Tiny(), sites(count)) if f.code == "E105"]
    errors = {finding.place for finding in about if finding.level == "error"}
    assert ("cohort.quorum" in errors) == (asked < quorum)
    assert ("aggregate.byzantine" in errors) == (asked < needed)
    warned = any(finding.level == "warning" for finding in about)
    assert warned == (asked >= needed > quorum)


@pytest.mark.parametrize(
    ("rule", "before", "said"),
    [
        ("fltrust", "none", "compares with an update of the server's own"),
        ("foolsgold", "bucketing", "must know whose row each is"),
        ("monna", "bucketing", "needs single rows"),
        ("foolsgold", "arc+nnm", ""),
        ("reputation", "clip", ""),
        ("flame", "none", ""),
    ],
)
def test_a_rule_that_cannot_get_what_it_needs_is_an_error(rule: str, before: str, said: str) -> None:
    job = Job.from_flat({**OPEN, "aggregate.rule": rule, "aggregate.before": before, "aggregate.byzantine": 1})
    found = [finding for finding in check_job(job, Tiny(), sites(8)) if finding.place == "aggregate.rule"]
    assert [(finding.code, said in finding.message) for finding in found] == ([("E105", True)] if said else [])


def test_a_rule_that_trusts_one_site_says_which() -> None:
    job = Job.from_flat({**OPEN, "aggregate.rule": "monna", "aggregate.before": "none", "aggregate.byzantine": 1})
    (found,) = [finding for finding in check_job(job, Tiny(), sites(8)) if finding.place == "aggregate.rule"]
    assert found.level == "warning" and "whose name comes first" in found.message


@pytest.mark.parametrize(
    ("gate", "found"),
    [("auc <= 0.55", []), ("tpr@0.01 <= 0.03", []), ("auc < 0.55", ["E103"]), ("nonsense", ["E103"]), (" ", ["E103"])],
)
def test_a_gate_that_cannot_be_read_is_an_error(gate: str, found: list[str]) -> None:
    assert codes(check(Tiny(), cohort__quorum=3, leakage__gate=gate)) == found


@pytest.mark.parametrize("held_out", [lambda self: None, lambda self: records(0)])
def test_a_gate_needs_held_out_records_and_evaluation_misses_them(held_out: Callable[..., Any]) -> None:
    bare = task(held_out=held_out)
    (error,) = [f for f in check(bare, cohort__quorum=3, leakage__gate="auc <= 0.55") if f.level == "error"]
    assert (error.code, error.place) == ("E105", "leakage.gate")
    (warning,) = [f for f in check(bare, cohort__quorum=3) if f.level == "warning"]
    assert (warning.code, warning.place) == ("E105", "evaluate")
    assert codes(check(bare, cohort__quorum=3, evaluate="none"), "warning") == []


def test_a_model_that_mixes_records_is_an_error_under_privacy_only() -> None:
    mixing = task(model=lambda self: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)))
    (error,) = [f for f in check(mixing, private=True, cohort__quorum=3) if f.level == "error"]
    assert error.code == "E130"
    assert "make_private_model" in error.hint
    assert codes(check(mixing, cohort__quorum=3)) == []


def test_a_model_without_parameters_is_an_error() -> None:
    assert codes(check(task(model=lambda self: nn.Identity()), cohort__quorum=3))[:1] == ["E126"]


def test_a_delta_that_is_too_large_for_a_site_is_an_error() -> None:
    assert "E132" in codes(check(Tiny(), private=True, cohort__quorum=3, privacy__delta=0.1))


def test_a_budget_that_no_noise_meets_names_the_site_once() -> None:
    errors = [f for f in check(Tiny(), private=True, cohort__quorum=3, privacy__epsilon=1e-6) if f.level == "error"]
    assert [(error.code, error.message.startswith("site-0: ")) for error in errors] == [("E131", True)]


def test_noise_that_drowns_the_model_is_a_warning() -> None:
    wide = task(model=lambda self: nn.Sequential(nn.Linear(3, 500), nn.Linear(500, 2)))
    findings = check(wide, private=True, cohort__quorum=3, privacy__epsilon=0.5, local__batch=1)
    assert codes(findings) == []
    assert "E133" in codes(findings, "warning")


def fails(self: Task, *arguments: object) -> Any:
    raise RuntimeError("a user's own mistake")


def refuses(self: Task, *arguments: object) -> Any:
    raise Refused("E203", "not this job")


def interrupts(self: Task, *arguments: object) -> Any:
    raise KeyboardInterrupt


WRONG: list[Callable[..., Any]] = [fails, refuses, lambda self, *a: 3, lambda self, *a: [1, 2], lambda: None]


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize(
    ("method", "wrong"),
    [(method, wrong) for method in ("model", "data") for wrong in (*WRONG, lambda self, *a: None)]
    + [("held_out", wrong) for wrong in (fails, refuses, lambda: None)],
)
def test_a_users_mistake_is_a_finding_and_never_raises(method: str, wrong: Callable[..., Any], private: bool) -> None:
    findings = check(task(**{method: wrong}), private=private, cohort__quorum=3, leakage__gate="auc <= 0.55")
    assert codes(findings)
    with pytest.raises(HedgerowError):
        refuse_errors(findings)


def test_an_extra_that_is_missing_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus.validators", None)
    (error,) = [f for f in check(Tiny(), private=True, cohort__quorum=3) if f.level == "error"]
    assert (error.code, error.hint) == ("E107", "pip install 'hedgerow[full]'")
    assert codes(check(Tiny(), cohort__quorum=3)) == []


def test_an_interrupt_is_no_finding() -> None:
    for method in ("model", "data", "held_out"):
        with pytest.raises(KeyboardInterrupt):
            check(task(**{method: interrupts}), cohort__quorum=3)


def test_no_sites_and_no_records_are_errors_and_no_crash() -> None:
    assert "E125" in codes(check(Tiny(), 0))
    nothing = task(data=lambda self, site: Data(records(0), records(0)))
    for private in (False, True):
        assert "E125" in codes(check(nothing, private=private))


def test_the_worst_comes_first() -> None:
    bare = task(held_out=lambda self: None)
    levels = [finding.level for finding in check(bare, 2, leakage__gate="auc <= 0.5")]
    assert levels == sorted(levels, key=LEVELS.index)
    assert {"error", "warning"} <= set(levels)


def test_a_thousand_sites_say_no_more_than_ten_do_and_plan_once_per_size() -> None:
    few = check(Tiny(), 10, private=True, cohort__quorum=3, privacy__epsilon=7.5)
    before = calibrate.cache_info().misses
    many = check(Tiny(), 1000, private=True, cohort__quorum=3, privacy__epsilon=7.25)
    assert calibrate.cache_info().misses - before == 5
    assert len(many) <= len(few) + 2
    assert all(len(finding.message) < 300 for finding in many)
    broken = check(task(data=fails), 1000, private=True, cohort__quorum=3)
    assert len(broken) < 6


@pytest.mark.parametrize("private", [False, True])
def test_every_sites_records_are_read_once(private: bool) -> None:
    calls: list[str] = []

    def data(self: Task, site: Site) -> Data:
        calls.append(site.name)
        return Tiny().data(site)

    assert codes(check(task(data=data), private=private, cohort__quorum=3)) == []
    assert calls == [site.name for site in sites(5)]


def test_a_model_that_mixes_records_is_found_though_the_first_site_has_one() -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mixed: torch.Tensor = self.layer(x - x.mean(dim=0))
            return mixed

    def data(self: Task, site: Site) -> Data:
        return Data(records(1 if site.index == 0 else 40, seed=site.index), records(0))

    assert "E130" in codes(check(task(model=lambda self: Mean(), data=data), private=True, cohort__quorum=3))


def test_checking_leaves_torchs_generator_alone() -> None:
    state = torch.random.get_rng_state()
    check(Tiny(), private=True, cohort__quorum=3)
    assert torch.equal(torch.random.get_rng_state(), state)
