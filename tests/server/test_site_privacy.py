"""Site-level privacy in whole runs: who takes part, what is charged, and what is released."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from hedgerow import Job, Scenario, simulate
from hedgerow.checkpoints import Checkpoint
from hedgerow.errors import Exhausted, Misconfigured, Refused
from hedgerow.eventlog import EventLog
from hedgerow.privacy import Ledger
from hedgerow.run import Run
from hedgerow.runs import RunFolder
from hedgerow.server.framing import run_started
from hedgerow.server.ongoing import seeded_model
from hedgerow.server.site_privacy import SitePrivacy
from hedgerow.server.strategy import Strategy
from hedgerow.settings import Scalar
from hedgerow.tasks import digits
from hedgerow.update import Layout

SITE: dict[str, Scalar] = {
    "rounds": 4,
    "local.batch": 16,
    "local.lr": 0.5,
    "privacy.unit": "site",
    "privacy.epsilon": 8.0,
    "privacy.delta": 1e-4,
    "aggregate.rule": "mean",
    "aggregate.before": "none",
    "aggregate.byzantine": 0,
    "cohort.quorum": 1,
    "cohort.fraction": 0.3,
    "secure.mode": "off",
}


def run(tmp_path: Path, engine: str = "cohort", *, sites: int = 60, attack: str = "", **changes: Scalar) -> Run:
    job = Job.from_flat({**SITE, **{key.replace("__", "."): value for key, value in changes.items()}})
    hostile = {"attack": attack, "attackers": 3} if attack else {}
    scenario = Scenario(sites=sites, seed=1, **hostile)  # type: ignore[arg-type]
    return simulate(job, digits(hidden=0), scenario=scenario, runs=tmp_path / engine, engine=engine, bare=True)


def last(found: Run) -> Checkpoint:
    latest = found.folder.latest()
    assert latest is not None
    return latest[1]


def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sites: int = 60, **changes: Scalar) -> SitePrivacy:
    """As on a real coordinator: no seed, and a ledger that outlives the run."""
    monkeypatch.setenv("HEDGEROW_STORE", str(tmp_path / "store"))
    job = Job.from_flat({**SITE, **changes})
    folder = RunFolder.create(tmp_path / "runs", job=job, scenario=None, engine="flower", task="digits")
    EventLog(folder.events).append(run_started(digits(hidden=0), folder, sites=sites))
    privacy = SitePrivacy.of(folder, federation="digits")
    assert privacy is not None
    return privacy


def test_engines_ask_the_same_sites_and_draw_the_same_noise(tmp_path: Path) -> None:
    one, other = (run(tmp_path, engine, privacy__clip_quantile=0.5) for engine in ("cohort", "in-process"))
    for here, there in zip(one.events("round-closed"), other.events("round-closed"), strict=True):
        assert here["accepted"] == there["accepted"] and here["clip"] == there["clip"]
        assert here["step_norm"] == pytest.approx(there["step_norm"], rel=1e-5)


def test_every_site_is_charged_in_every_round_whether_or_not_it_took_part(tmp_path: Path) -> None:
    found = run(tmp_path)
    took_part = {site for event in found.events("round-closed") for site in event["accepted"]}
    assert len(took_part) < 60 and len(found.epsilon) == 60
    assert len(set(found.epsilon.values())) == 1
    (planned,) = {event["epsilon"] for event in found.events("budget-planned")}
    assert max(found.epsilon.values()) == pytest.approx(planned, abs=1e-3)
    assert {event["unit"] for event in found.events("budget-planned")} == {"site"}
    assert {event["relation"] for event in found.events("budget-planned")} == {"add or remove one site"}


def test_cohorts_are_binomial_and_sites_join_on_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    privacy = deployed(tmp_path, monkeypatch)
    nodes = list(range(1, 201))
    asked = np.zeros((300, 200), bool)
    for row in range(300):
        asked[row, [node - 1 for node in privacy.cohort(row + 1, nodes)]] = True
    sizes = asked.sum(axis=1)
    assert abs(sizes.mean() - 60) < 4 * math.sqrt(200 * 0.21 / 300)
    assert 0.7 < sizes.var() / (200 * 0.3 * 0.7) < 1.4  # a cohort of fixed size has none
    assert np.abs(asked.mean(axis=0) - 0.3).max() < 5 * math.sqrt(0.21 / 300)


def test_a_round_is_released_with_its_noise_also_when_nobody_was_asked(tmp_path: Path) -> None:
    found = run(tmp_path, sites=5, cohort__fraction=0.01, rounds=3, privacy__epsilon=1.0, privacy__delta=1e-3)
    closed = found.events("round-closed")
    assert len(closed) == 3 and not any(event["accepted"] for event in closed)
    assert all(event["step_norm"] > 0 for event in closed)
    assert max(found.epsilon.values()) > 0


def test_a_hostile_site_moves_the_model_by_its_share_of_the_clip_and_no_further(tmp_path: Path) -> None:
    honest, attacked = (run(tmp_path / name, attack=name, rounds=1) for name in ("", "scale:1000000"))
    assert [set(found.events("round-closed")[0]["accepted"]) for found in (honest, attacked)]
    models = [last(found).model for found in (honest, attacked)]
    assert np.linalg.norm(models[0].astype(np.float64) - models[1]) <= 3 * 2 * 1.0 / (0.3 * 60) * 1.001


def test_noise_cannot_be_had_before_it_is_charged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    privacy = deployed(tmp_path, monkeypatch)
    model = np.zeros(650, np.float32)
    noises = [privacy.reserve(number, model) for number in (1, 2)]
    with Ledger.open(tmp_path / "store" / "coordinator" / "ledger.sqlite") as ledger:
        charged = ledger.entries("sites of digits")
    assert len(charged) == 2
    draws = [noise(np.zeros((0, 650), np.float32), np.zeros(0), 1.0).mean for noise in noises]
    assert abs(np.corrcoef(draws[0], draws[1])[0, 1]) < 0.2  # no noise is drawn twice
    assert privacy.plan.sum_multiplier / 18 == pytest.approx(np.std(draws), rel=0.15)


def test_a_budget_holds_over_jobs_on_one_federation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = deployed(tmp_path, monkeypatch)
    model = np.zeros(650, np.float32)
    for number in range(1, 5):
        first.reserve(number, model)
    second = deployed(tmp_path, monkeypatch)
    with pytest.raises(Refused, match="E201"):
        second.reserve(1, model)


def test_a_simulated_round_that_is_done_again_is_the_same_and_costs_nothing(tmp_path: Path) -> None:
    found = run(tmp_path, rounds=1)
    privacy = SitePrivacy.of(found.folder, federation="digits")
    assert privacy is not None
    module = seeded_model(digits(hidden=0), 1)
    noise = privacy.reserve(1, Layout.of(module).flatten(module))
    assert not noise.reservation.fresh and noise.spent == pytest.approx(max(found.epsilon.values()), abs=1e-3)


def test_no_count_of_records_is_kept_or_sent(tmp_path: Path) -> None:
    for engine in ("cohort", "in-process"):
        state = last(run(tmp_path, engine)).state
        assert set(state["declared.counts"].tolist()) == {1}


def test_without_enrolled_sites_or_a_ledger_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match="no site was connected"):
        deployed(tmp_path, monkeypatch, sites=0)
    with pytest.raises(Misconfigured, match="ledger"):
        Strategy(Job.from_flat(SITE))


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store").write_text("a file where a folder should be")
    with pytest.raises(Exhausted, match="E504"):
        deployed(tmp_path, monkeypatch)
