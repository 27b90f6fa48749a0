"""The same job on Flower's own simulation: on Ray the model is the same, byte for byte, here or on a cluster."""

import importlib.util
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import ray
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from ray.cluster_utils import Cluster

import hedgerow.simulations.ray as on_ray
from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.run import Run
from hedgerow.scenario import Scenario
from hedgerow.settings import Scalar
from hedgerow.simulations import simulate
from hedgerow.tasks import digits
from hedgerow.tasks.digits import Digits

SCENARIO = Scenario(sites=4, seed=3)
PRIVATE: Mapping[str, Scalar] = {"privacy.unit": "record", "privacy.epsilon": 5.0, "privacy.delta": 1e-4}


def job(changes: Mapping[str, Scalar] | None = None) -> Job:
    settings: dict[str, Scalar] = {
        "rounds": 2,
        "privacy.unit": "none",
        "secure.mode": "off",
        "aggregate.byzantine": 1,
        "cohort.quorum": 4,
    }
    return Job.from_flat({**settings, **(changes or {})})


def node(**changes: object) -> dict[str, object]:
    own = {"NodeManagerHostname": socket.gethostname(), "NodeManagerAddress": "127.0.0.1"}
    return {"Alive": True, "Resources": {"CPU": 2.0}, **own, **changes}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ray and Flower replaced by a note of what they were told, and a cluster of one node on this machine."""
    import flwr.simulation

    found: list[str] = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **named: found.append(named["address"]))
    monkeypatch.setattr(ray, "put", lambda value: value)
    monkeypatch.setattr(ray, "shutdown", lambda: found.append("shutdown"))
    monkeypatch.setattr(on_ray, "_nodes", lambda: [node()])
    monkeypatch.setattr(on_ray, "_refuse_silence", lambda cluster: None)
    monkeypatch.setattr(flwr.simulation, "run_simulation", lambda **named: found.append("ran"))
    return found


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else find(name))
    with pytest.raises(Misconfigured) as caught:
        on_ray.run_on_ray(ServerApp(), ClientApp(), 2)
    assert caught.value.code == "E107" and "hedgerow[ray]" in caught.value.hint


@pytest.mark.parametrize(
    ("argument", "variable", "expected"),
    [
        (None, None, "local"),
        (None, "", "local"),
        (None, "10.0.0.1:6379", "10.0.0.1:6379"),
        (None, "auto", "auto"),
        ("ray://head:10001", "10.0.0.1:6379", "ray://head:10001"),
        ("[fd00::1]:6379", None, "[fd00::1]:6379"),
    ],
)
def test_ray_is_told_which_cluster_rather_than_left_to_find_one(
    argument: str | None, variable: str | None, expected: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    on_ray.run_on_ray(ServerApp(), ClientApp(), 2, address=argument)
    assert told == [expected, "ran", "shutdown"]


@pytest.mark.parametrize(
    "text",
    ["head", "head:", ":6379", "head:0", "head:65536", "http://head:6379", "ray://head", "a b:1", "fd00::1:6379"],
)
def test_an_address_of_another_form_is_refused_and_says_where_it_stands(
    text: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Misconfigured) as caught:
        on_ray.run_on_ray(ServerApp(), ClientApp(), 2, address=text)
    assert (caught.value.code, caught.value.place) == ("E103", "address")
    monkeypatch.setenv("RAY_ADDRESS", text)
    with pytest.raises(Misconfigured) as caught:
        on_ray.run_on_ray(ServerApp(), ClientApp(), 2)
    assert (caught.value.code, caught.value.place) == ("E103", "RAY_ADDRESS")
    assert not told


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nothing_answers_is_a_coded_error_before_ray_waits(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "init", lambda **named: pytest.fail("Ray would wait for minutes"))
    with socket.socket() as free:  # bound but not listening, so nobody else can answer there
        free.bind(("127.0.0.1", 0))
        with pytest.raises(Misconfigured) as caught:
            on_ray.run_on_ray(ServerApp(), ClientApp(), 2, address=f"{scheme}127.0.0.1:{free.getsockname()[1]}")
    assert caught.value.code == "E116" and "ray status" in caught.value.hint


def test_a_server_that_accepts_and_stays_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "init", lambda **named: pytest.fail("Ray would wait for minutes"))
    monkeypatch.setattr(on_ray, "PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Misconfigured) as caught:
        on_ray.run_on_ray(ServerApp(), ClientApp(), 2, address=f"127.0.0.1:{silent.getsockname()[1]}")
    assert caught.value.code == "E116"


def test_what_ray_refuses_is_passed_on_in_its_words_and_nothing_is_run(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**named: object) -> None:
        raise RuntimeError("Version mismatch: the cluster has 2.40\nand more lines")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(Misconfigured, match="Version mismatch: the cluster has 2.40") as caught:
        on_ray.run_on_ray(ServerApp(), ClientApp(), 2, address="head:6379")
    assert caught.value.code == "E116" and "more lines" not in str(caught.value)
    assert told == ["shutdown"]


def test_a_cluster_without_a_cpu_is_refused_because_its_rounds_would_never_end(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "_nodes", lambda: [node(Resources={}), node(Alive=False)])
    with pytest.raises(Misconfigured) as caught:
        on_ray.run_on_ray(ServerApp(), ClientApp(), 2, address="head:6379")
    assert caught.value.code == "E116" and "CPU" in str(caught.value)
    assert told == ["head:6379", "shutdown"]


@pytest.mark.parametrize("other", [{"NodeManagerHostname": "elsewhere"}, {"NodeManagerAddress": "198.51.100.7"}])
def test_ledgers_that_machines_cannot_share_keep_a_run_on_this_one(
    other: dict[str, object], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_ray.run_on_ray(ServerApp(), ClientApp(), 2, address="head:6379", one_machine=True)
    monkeypatch.setattr(on_ray, "_nodes", lambda: [node(), node(**other)])
    on_ray.run_on_ray(ServerApp(), ClientApp(), 2, address="head:6379")
    assert told == ["head:6379", "ran", "shutdown"] * 2
    with pytest.raises(Misconfigured, match="ledgers") as caught:
        on_ray.run_on_ray(ServerApp(), ClientApp(), 2, address="head:6379", one_machine=True)
    assert caught.value.code == "E106" and told[-2:] == ["head:6379", "shutdown"]


def test_a_process_at_a_cluster_is_not_moved_to_another(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with pytest.raises(Misconfigured) as caught:
        on_ray.run_on_ray(ServerApp(), ClientApp(), 2, address="head:6379")
    assert caught.value.code == "E105" and not told
    on_ray.run_on_ray(ServerApp(), ClientApp(), 2)
    assert told == ["ran"]


@pytest.mark.ray
@pytest.mark.parametrize("changes", [{}, PRIVATE])
def test_the_same_job_on_ray_gives_the_same_model(changes: Mapping[str, Scalar], tmp_path: Path) -> None:
    runs = {
        engine: simulate(job(changes), digits(hidden=16), scenario=SCENARIO, engine=engine, runs=tmp_path, name=engine)
        for engine in ("in-process", "ray")
    }
    assert runs["ray"].status == "finished" and runs["ray"].rounds == 2
    _assert_same(runs["ray"], runs["in-process"])


@pytest.mark.ray
def test_an_attack_on_ray_is_the_same_attack(tmp_path: Path) -> None:
    scenario = SCENARIO.override({"attack": "gaussian", "attackers": 1, "strength": 0.5})
    runs = [
        simulate(job(), digits(hidden=16), scenario=scenario, engine=engine, runs=tmp_path, name=engine)
        for engine in ("in-process", "ray")
    ]
    assert runs[0].model_sha256 == runs[1].model_sha256


class CountedDigits(Digits):
    """Digits that count how often they are pickled in this process."""

    pickled = 0

    def __getstate__(self) -> dict[str, object]:
        CountedDigits.pickled += 1
        return dict(self.__dict__)


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Cluster, int]]:
    """A Ray cluster of two machines' worth of processes, and the port of its client server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    head = {
        "num_cpus": 1,
        "object_store_memory": 80_000_000,
        "include_dashboard": False,
        "ray_client_server_port": port,
    }
    found = Cluster(initialize_head=True, head_node_args=head)
    try:
        found.add_node(num_cpus=1, object_store_memory=80_000_000)
        yield found, port
    finally:
        found.shutdown()  # type: ignore[no-untyped-call]  # Ray types its API in part


def alive(cluster: Cluster) -> set[str]:
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        return {entry["NodeID"] for entry in on_ray._nodes() if entry["Alive"]}
    finally:
        ray.shutdown()


@pytest.mark.ray
@pytest.mark.parametrize(
    ("door", "changes"), [("argument", {}), ("argument", PRIVATE), ("variable", {}), ("client", {})]
)
def test_a_job_on_a_cluster_of_two_workers_gives_the_same_model_and_leaves_the_cluster_as_it_was(
    door: str,
    changes: Mapping[str, Scalar],
    cluster: tuple[Cluster, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = alive(cluster[0])
    address = f"ray://127.0.0.1:{cluster[1]}" if door == "client" else cluster[0].address
    if door == "variable":
        monkeypatch.setenv("RAY_ADDRESS", address)
    else:
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
    task = CountedDigits(hidden=16, test_fraction=0.2)
    CountedDigits.pickled = 0
    there = simulate(
        job(changes),
        task,
        scenario=SCENARIO,
        engine="ray",
        address=None if door == "variable" else address,
        runs=tmp_path,
        name="there",
    )
    copies = CountedDigits.pickled
    here = simulate(job(changes), task, scenario=SCENARIO, engine="in-process", runs=tmp_path, name="here")
    assert there.status == "finished" and there.rounds == 2
    _assert_same(there, here)
    assert copies == 1, "the task goes to Ray's store once, not with each of the eight messages"
    assert alive(cluster[0]) == before and len(before) == 2


def _assert_same(one: Run, other: Run) -> None:
    assert one.model_sha256 == other.model_sha256
    assert one.epsilon == other.epsilon
    assert one.final == other.final
