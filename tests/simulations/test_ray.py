"""The same job on Flower's own simulation: on Ray the model is the same, byte for byte."""

import importlib.util
from pathlib import Path

import pytest
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

import hedgerow.simulations.ray as on_ray
from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.scenario import Scenario
from hedgerow.settings import Scalar
from hedgerow.simulations import simulate
from hedgerow.tasks import digits

SCENARIO = Scenario(sites=4, seed=3)


def job(**changes: Scalar) -> Job:
    settings: dict[str, Scalar] = {
        "rounds": 2,
        "privacy.unit": "none",
        "secure.mode": "off",
        "aggregate.byzantine": 1,
        "cohort.quorum": 4,
    }
    return Job.from_flat({**settings, **{key.replace("__", "."): value for key, value in changes.items()}})


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else find(name))
    with pytest.raises(Misconfigured) as caught:
        on_ray.run_on_ray(ServerApp(), ClientApp(), 2)
    assert caught.value.code == "E107" and "hedgerow[ray]" in caught.value.hint


@pytest.mark.parametrize(
    ("argument", "variable", "expected"),
    [(None, None, "local"), (None, "10.0.0.1:6379", "10.0.0.1:6379"), ("ray://head", "10.0.0.1:6379", "ray://head")],
)
def test_ray_is_told_which_cluster_rather_than_left_to_find_one(
    argument: str | None, variable: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import flwr.simulation

    told: list[dict[str, dict[str, object]]] = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(flwr.simulation, "run_simulation", lambda **named: told.append(named["backend_config"]))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable is not None:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    on_ray.run_on_ray(ServerApp(), ClientApp(), 2, address=argument)
    assert told[0]["init_args"]["address"] == expected


@pytest.mark.ray
@pytest.mark.parametrize("private", [False, True])
def test_the_same_job_on_ray_gives_the_same_model(private: bool, tmp_path: Path) -> None:
    changes: dict[str, Scalar] = (
        {"privacy__unit": "record", "privacy__epsilon": 5.0, "privacy__delta": 1e-4} if private else {}
    )
    runs = {
        engine: simulate(
            job(**changes), digits(hidden=16), scenario=SCENARIO, engine=engine, runs=tmp_path, name=engine
        )
        for engine in ("in-process", "ray")
    }
    assert runs["ray"].status == "finished" and runs["ray"].rounds == 2
    assert runs["ray"].model_sha256 == runs["in-process"].model_sha256
    assert runs["ray"].epsilon == runs["in-process"].epsilon
    assert runs["ray"].final == runs["in-process"].final


@pytest.mark.ray
def test_an_attack_on_ray_is_the_same_attack(tmp_path: Path) -> None:
    scenario = SCENARIO.override({"attack": "gaussian", "attackers": 1, "strength": 0.5})
    runs = [
        simulate(job(), digits(hidden=16), scenario=scenario, engine=engine, runs=tmp_path, name=engine)
        for engine in ("in-process", "ray")
    ]
    assert runs[0].model_sha256 == runs[1].model_sha256
