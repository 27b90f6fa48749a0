"""A run on the cohort engine is the run that the messages' engine makes, and goes on where it was stopped."""

import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hedgerow import Job, Run, Scenario
from hedgerow.errors import Exhausted, Misconfigured
from hedgerow.privacy import Charge, Entry, Ledger
from hedgerow.simulations import resume, simulate
from hedgerow.task import Data, PooledTask, Site, Split, Task

PRIVATE = {"privacy.unit": "record", "privacy.epsilon": 8.0, "privacy.delta": 1e-3, "local.batch": 8}


def draw(seed: int, n: int) -> Split:
    x = np.random.default_rng(seed).standard_normal((n, 4)).astype(np.float32)
    return Split(x, (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 1))


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))


class Pool(PooledTask):
    name = "pool"
    labels = ("a", "b", "c")

    def model(self) -> torch.nn.Module:
        return network()

    def pool(self) -> Data:
        return Data(draw(1, 150), draw(2, 40))


class Wards(Task):
    """Sites with records of their own, some of them held out; two sites hold none out."""

    name = "wards"
    labels = ("a", "b", "c")

    def __init__(self, *, sizes: tuple[int, ...] = (12, 7, 15, 9, 11, 8), metric: str = "accuracy") -> None:
        self.sizes = sizes
        self.metric = metric

    def model(self) -> torch.nn.Module:
        return network()

    def data(self, site: Site) -> Data:
        return Data(draw(10 + site.index, self.sizes[site.index]), draw(50 + site.index, (site.index % 3) * 4))

    def held_out(self) -> Split | None:
        return draw(3, 30)

    def metrics(self, logits: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        one_kind = bool((y == y[0]).all()) or bool((y[:2] == 0).all())
        if self.metric == "raising" and one_kind:
            raise ValueError("one kind of label only")
        if self.metric == "undefined" and one_kind:
            return {"accuracy": float("nan")}
        return super().metrics(logits, y)


class Spoiled(Wards):
    """One site, neither the largest nor the smallest, has labels that the loss does not bear."""

    def data(self, site: Site) -> Data:
        data = super().data(site)
        labels = np.full_like(data.train.y, 2) if site.index == 3 else data.train.y % 2
        return Data(Split(data.train.x, labels), data.test)

    def held_out(self) -> None:
        """Nothing, so that what leaks is not measured, which takes the loss of every record."""

    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if bool((y == 2).any()):
            raise ValueError("no")
        return super().loss(logits, y)


def job(**changes: Any) -> Job:
    keys = {key.replace("__", "."): value for key, value in changes.items()}
    base: dict[str, Any] = {
        "rounds": 3,
        "local.batch": 5,
        "privacy.unit": "none",
        "secure.mode": "off",
        "local.momentum": 0.5,
    }
    return Job.from_flat({**base, **keys})


def run_of(a_job: Job, scenario: Scenario, engine: str = "cohort", *, task: Task | None = None, **named: Any) -> Run:
    runs = named.pop("runs", None) or tempfile.mkdtemp()
    return simulate(a_job, task or Pool(), scenario=scenario, engine=engine, runs=runs, name="run", **named)


def told(event: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of a round, but for times and the model's bytes."""
    return {
        "accepted": event["accepted"],
        "rejected": sorted(map(tuple, (refusal.items() for refusal in event["rejected"]))),
        "bytes": (event["bytes_up"], event["bytes_down"]),
    }


def charges(run: Run) -> list[list[tuple[Any, ...]]]:
    """The ledger's entries by site, without times, what clipped, and the models, which differ by rounding."""
    with run.ledger() as ledger:
        entries = [entry for entry in ledger.entries() if entry.dataset]
    sites = sorted({entry.dataset for entry in entries})

    round_of = {entry.seq: entry.charge.round for entry in entries if entry.charge is not None}

    def fact(entry: Entry) -> tuple[Any, ...]:
        if entry.charge is None:
            return entry.state, round_of[entry.of]
        facts = {key: value for key, value in entry.charge.facts().items() if key not in ("model", "run", "path")}
        return entry.state, *sorted(facts.items())

    return [[fact(entry) for entry in entries if entry.dataset == site] for site in sites]


RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "fraction": ({"cohort__fraction": 0.5, "cohort__over_select": 0.2, "rounds": 5}, {"split": "quantity:0.5"}),
    "sign-flip": ({"cohort__fraction": 0.7}, {"attack": "sign-flip", "attackers": 1, "strength": 4.0}),
    "gaussian": ({}, {"attack": "gaussian", "attackers": 1, "strength": 0.5}),
    "gaussian-mean": (
        {"aggregate__rule": "mean", "aggregate__byzantine": 0, "aggregate__before": "none"},
        {"attack": "gaussian", "attackers": 2},
    ),
    "label-flip": ({}, {"attack": "label-flip", "attackers": 2, "strength": 0.7}),
    "krum": ({"aggregate__rule": "krum", "aggregate__before": "none"}, {}),
    "multi-krum": ({"aggregate__rule": "multi-krum"}, {"attack": "sign-flip", "attackers": 1}),
    "median": ({"aggregate__rule": "median", "server__optimizer": "adam"}, {}),
    "geometric": ({"aggregate__rule": "geometric-median", "server__optimizer": "avgm"}, {}),
    "examples": (
        {
            "aggregate__rule": "mean",
            "aggregate__byzantine": 0,
            "aggregate__before": "none",
            "aggregate__weights": "examples",
        },
        {"split": "quantity:0.3"},
    ),
    "clip": ({"local__clip": 0.1, "local__proximal": 0.2, "local__epochs": 2}, {}),
    "adam": ({"local__optimizer": "adam", "local__lr": 0.01}, {}),
    "shift": ({}, {"shift": "affine:0.5"}),
    "private": ({**PRIVATE}, {}),
    "private-attacked": ({**PRIVATE, "cohort__fraction": 0.7}, {"attack": "sign-flip", "attackers": 1}),
}


LESS_OFTEN = {"gaussian-mean", "multi-krum", "geometric", "adam", "shift", "fraction", "private-attacked"}


@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.slow] * (case in LESS_OFTEN)) for case in RUNS])
def test_a_run_is_the_messages_engine_s_run(case: str) -> None:
    changes, conditions = RUNS[case]
    a_job, scenario = job(**changes), Scenario(**{"sites": 6, "split": "iid", "seed": 2, **conditions})
    fast, slow = run_of(a_job, scenario), run_of(a_job, scenario, "in-process")
    (chosen,) = fast.events("engine-chosen")
    assert chosen["path"] != "one-by-one"
    closed, expected = fast.events("round-closed"), slow.events("round-closed")
    assert [told(event) for event in closed] == [told(event) for event in expected]
    assert fast.events("round-voided") == slow.events("round-voided") == ()
    for one, other in zip(closed, expected, strict=True):
        assert one["weights"].keys() == other["weights"].keys()
        for numbers in ("weights", "norms"):
            np.testing.assert_allclose(list(one[numbers].values()), list(other[numbers].values()), rtol=1e-4, atol=1e-5)
    models = [run.folder.latest() for run in (fast, slow)]
    vectors = [latest[1].model for latest in models if latest is not None]
    np.testing.assert_allclose(vectors[0], vectors[1], rtol=0, atol=1e-5)
    assert [event["event"] for event in fast.events() if event["event"] != "engine-chosen"] == [
        event["event"] for event in slow.events()
    ]
    if a_job.privacy.unit == "record":
        assert fast.epsilon == slow.epsilon and charges(fast) == charges(slow)
        assert fast.events("budget-planned")[0].keys() == slow.events("budget-planned")[0].keys()


@pytest.mark.parametrize("metric", ["accuracy", "undefined", "raising"])
def test_sites_that_measure_the_model_say_the_same(metric: str) -> None:
    """A site whose metric is undefined, or raises, is left out; it neither spoils the mean nor ends the run."""
    a_job, scenario = job(evaluate="sites"), Scenario(sites=6, seed=2)
    fast, slow = (run_of(a_job, scenario, engine, task=Wards(metric=metric)) for engine in ("cohort", "in-process"))
    found, expected = fast.events("evaluated"), slow.events("evaluated")
    assert len(found) == len(expected) >= 3
    for one, other in zip(found, expected, strict=True):
        assert (one["where"], one["records"], list(one["metrics"])) == (
            "sites",
            other["records"],
            list(other["metrics"]),
        )
        np.testing.assert_allclose(list(one["metrics"].values()), list(other["metrics"].values()), atol=1e-4)


@pytest.mark.parametrize("private", [False, True])
def test_a_site_s_failure_counts_as_in_the_messages_engine(private: bool) -> None:
    """A label that the loss does not bear: it raises on that site alone, and the round closes with the others."""
    changes = PRIVATE if private else {}
    a_job, scenario = job(**changes, cohort__quorum=5), Scenario(sites=6, seed=2)
    fast, slow = (run_of(a_job, scenario, engine, task=Spoiled()) for engine in ("cohort", "in-process"))
    for one, other in zip(fast.events("round-closed"), slow.events("round-closed"), strict=True):
        assert told(one) == told(other)
        failed = [(refusal["site"], refusal["code"]) for refusal in one["rejected"] if refusal["code"] != "E310"]
        assert failed == [("site-04", "E308")]
    models = [run.folder.latest() for run in (fast, slow)]
    vectors = [latest[1].model for latest in models if latest is not None]
    np.testing.assert_allclose(vectors[0], vectors[1], rtol=0, atol=1e-5)
    if private:
        spent = dict(fast.epsilon)
        assert spent.pop("site-04") > 0  # it is charged all the same; as a message, its failure is a code alone
        assert spent == slow.epsilon and charges(fast) == charges(slow)
    with pytest.raises(Exhausted) as caught:
        run_of(job(**changes, cohort__quorum=6), scenario, task=Spoiled())
    assert caught.value.code == "E501"


@pytest.mark.parametrize("engine", ["cohort", "in-process"])
def test_a_site_that_would_exceed_its_budget_refuses_alone(engine: str, tmp_path: Path) -> None:
    def spend(event: Mapping[str, Any]) -> None:
        """Something else was charged to one site's records before the first round."""
        if event["event"] == "run-started":
            with Ledger.open(tmp_path / "run" / "ledger.sqlite", durable=False) as ledger:
                charge = Charge(
                    dataset="site-03",
                    noise_multiplier=0.5,
                    sampling_rate=1.0,
                    sampler="none",
                    clip=1.0,
                    steps=1,
                    delta=1e-3,
                    job="other",
                    run="other",
                    round=1,
                    model="m",
                    randomness="operating system generator",
                )
                ledger.reserve(charge, limit_epsilon=1e9)

    run = run_of(job(**PRIVATE), Scenario(sites=6, seed=2), engine, runs=tmp_path, listeners=[spend], task=Wards())
    for event in run.events("round-closed"):
        refused = [(refusal["site"], refusal["code"]) for refusal in event["rejected"] if refusal["code"] != "E310"]
        assert refused == [("site-03", "E201")]
        assert len(event["accepted"]) + len(event["rejected"]) == 6
    assert "site-03" not in run.epsilon


TIMED: dict[str, Any] = {
    "sites": 12,
    "split": "iid",
    "availability": "random:0.8",
    "latency": "lognormal:1,1",
    "speed": "lognormal:20,1",
    "dropout": 0.2,
    "seed": 4,
}


@functools.cache
def timed(private: bool, seed: int = 4) -> Run:
    changes = {**(PRIVATE if private else {}), "cohort__grace": 1.0, "cohort__deadline": 60.0, "rounds": 6}
    return run_of(job(**changes), Scenario(**{**TIMED, "seed": seed}))


@pytest.mark.parametrize("private", [False, True])
def test_a_simulated_clock_goes_forward_and_silent_sites_are_named(private: bool) -> None:
    run = timed(private)
    closed = run.events("round-closed")
    clocks = [event["clock"] for event in closed]
    assert clocks == sorted(clocks) and 0 < clocks[0] < clocks[-1]
    asked = {event["round"]: event["asked"] for event in run.events("round-started")}
    silent = 0
    for event in closed:
        assert {refusal["code"] for refusal in event["rejected"]} <= {"E309", "E310"}
        assert set(event["norms"]).isdisjoint(r["site"] for r in event["rejected"] if r["code"] == "E309")
        missing = sum(refusal["code"] == "E309" for refusal in event["rejected"])
        assert asked[event["round"]] == len(event["norms"]) + missing
        silent += missing
    assert silent > 0


def test_who_is_late_or_drops_out_was_at_work_and_stays_charged() -> None:
    run = timed(True)
    with run.ledger() as ledger:
        entries = ledger.entries()
    asked = sum(event["asked"] for event in run.events("round-started"))
    assert sum(entry.charge is not None for entry in entries) == asked
    answered = sum(len(event["norms"]) for event in run.events("round-closed"))
    released = sum(entry.state.name == "RELEASED" for entry in entries)
    assert answered < released < asked  # who was late let his update out; who dropped out did not


@pytest.mark.parametrize("seed", [4, 5])
def test_a_run_tells_what_every_site_has_spent_in_late_and_in_voided_rounds_too(seed: int) -> None:
    run = timed(True, seed)
    with run.ledger() as ledger:
        charged = {entry.dataset for entry in ledger.entries() if entry.charge is not None}
        spent = {site: ledger.spent(site, delta=1e-3, accountant="rdp").epsilon for site in charged}
    assert {site: round(spent[site], 2) for site in spent if run.epsilon.get(site, 0.0) < spent[site] - 1e-9} == {}


def test_an_ideal_federation_has_no_clock() -> None:
    run = run_of(job(), Scenario(sites=5))
    assert {event["clock"] for event in run.events("round-closed")} == {None}


def test_too_few_sites_within_the_deadline_end_the_run() -> None:
    with pytest.raises(Exhausted) as caught:
        run_of(job(cohort__quorum=5), Scenario(sites=6, join="uniform:1e8", latency="constant:1"))
    assert caught.value.code == "E501"


def test_a_round_with_too_few_connected_sites_is_void_and_the_clock_goes_on(tmp_path: Path) -> None:
    """Everyone is away from second 9 to 100: a deadline passes in vain, and the next round finds them again."""
    path = tmp_path / "away.csv"
    path.write_text("site,from,until\n" + "".join(f"{n},0,9\n{n},100,1e6\n" for n in range(6)))
    scenario = Scenario(sites=6, availability=f"trace:{path}", latency="constant:4.5")
    run = run_of(job(rounds=4, cohort__quorum=5, cohort__deadline=60.0), scenario)
    assert [event["round"] for event in run.events("round-closed")] == [1, 3, 4]
    (void,) = run.events("round-voided")
    assert (void["round"], void["code"], void["clock"], void["rejected"]) == (2, "E501", 69.0, [])
    assert void["reason"].startswith("0 sites are connected, but the quorum is 5, and not enough come within 60 ")
    assert [event["asked"] for event in run.events("round-started")] == [6, 0, 6, 6]
    assert [event["clock"] for event in run.events("round-closed")] == [9.0, 109.0, 118.0]
    assert run.status == "finished"


STOPS = [
    pytest.param("round-closed", 2, id="round-closed"),
    pytest.param("round-started", 2, id="round-started", marks=pytest.mark.slow),
    pytest.param("evaluated", 2, id="evaluated", marks=pytest.mark.slow),
    pytest.param("round-closed", 4, id="round-closed-later", marks=pytest.mark.slow),
    pytest.param("engine-chosen", None, id="engine-chosen", marks=pytest.mark.slow),
    pytest.param("budgets-spent", 3, id="budgets-spent", marks=pytest.mark.slow),
]


def facts(run: Run) -> list[dict[str, Any]]:
    """The events that count, but for the times and where they stand in the file."""
    passing = {"seq", "time", "seconds", "run"}
    words = {
        "run-resumed",
        "run-finished",
        "budget-planned",
        "budgets-planned",
    }  # a coordinator that starts again tells the plans again
    found: list[dict[str, Any]] = []
    for event in run.events():
        fact = {key: value for key, value in event.items() if key not in passing}
        again = event["event"] == "evaluated" and fact in found  # told twice rather than never
        if event["event"] not in words and not again:
            found.append(fact)
    return found


@pytest.mark.parametrize("kind", ["plain", "private", "timed", "timed-private", "sites"])
@pytest.mark.parametrize(("stop", "number"), STOPS)
def test_a_run_that_was_interrupted_goes_on_to_the_same_bytes_events_and_clock(
    kind: str, stop: str, number: int | None, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"rounds": 5, "cohort__grace": 1.0, "cohort__deadline": 60.0, "server__optimizer": "adam"}
    if "private" in kind:
        changes.update(PRIVATE)
    if kind == "sites":
        changes["evaluate"] = "sites"
    scenario = Scenario(**TIMED) if "timed" in kind else Scenario(sites=6, seed=4)
    task: Task = Wards() if kind == "sites" else Pool()

    def interrupt(event: Mapping[str, Any]) -> None:
        if event["event"] == stop and event.get("round") == number:
            raise KeyboardInterrupt

    whole = run_of(job(**changes), scenario, task=task, runs=tmp_path / "whole")
    try:
        run_of(job(**changes), scenario, task=task, runs=tmp_path / "stopped", listeners=[interrupt])
        stopped = False
    except KeyboardInterrupt:
        stopped = True
    assert stopped == (stop != "budgets-spent" or "private" in kind)
    again = resume(Run(tmp_path / "stopped" / "run").folder, task)
    assert again.status == "finished"
    assert again.folder.rounds() == whole.folder.rounds()
    assert facts(again) == facts(whole)
    assert again.epsilon == whole.epsilon and again.history == whole.history
    if "private" in kind:
        assert charges(again) == charges(whole)


@pytest.mark.parametrize("private", [False, True])
def test_the_same_seed_gives_the_same_model_whatever_the_workers_and_the_memory(private: bool) -> None:
    a_job, scenario = job(**(PRIVATE if private else {})), Scenario(sites=9, seed=6)
    runs = [run_of(a_job, scenario, workers=workers, memory=10**9) for workers in (1, 2, 3)]
    runs.append(run_of(a_job, scenario))
    assert len({run.model_sha256 for run in runs}) == 1
    assert runs[0].model_sha256 != run_of(a_job, Scenario(sites=9, seed=7)).model_sha256


def test_too_little_memory_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        run_of(job(), Scenario(sites=6), memory=100, runs=tmp_path)
    assert caught.value.code == "E105" and list(tmp_path.iterdir()) == []


def test_a_run_whose_path_is_gone_does_not_go_on_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(event: Mapping[str, Any]) -> None:
        if event["event"] == "round-closed":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_of(job(), Scenario(sites=5), runs=tmp_path, listeners=[interrupt])

    class Hooked(Pool):
        def model(self) -> torch.nn.Module:
            model = network()
            model.get_submodule("0").register_forward_hook(lambda module, inputs, output: output)
            return model

    with pytest.raises(Misconfigured) as caught:
        resume(Run(tmp_path / "run").folder, Hooked())
    assert caught.value.code == "E107"


def test_the_engine_is_told_once_before_the_first_round() -> None:
    run = run_of(job(), Scenario(sites=5))
    kinds = [event["event"] for event in run.events()]
    assert kinds.count("engine-chosen") == 1 and kinds.index("engine-chosen") < kinds.index("round-started")
    (chosen,) = run.events("engine-chosen")
    assert chosen["engine"] == "cohort" and chosen["private"] == ""
    assert run_of(job(**PRIVATE), Scenario(sites=5)).events("engine-chosen")[0]["private"] != ""
