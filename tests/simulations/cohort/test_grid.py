"""Flower's own strategies over sites that are trained together."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAdam, FedAvg, FedProx, Krum, Strategy
from tests.simulations.halves import Halves

from hedgerow import Job, Local, Privacy, Scenario, Secure
from hedgerow.errors import Misconfigured
from hedgerow.flowercompat import LazyArray, over_the_wire, task_identity
from hedgerow.privacy import SimulatedRandomness
from hedgerow.simulations import CohortGrid, run_simulation, split
from hedgerow.task import Site, Task
from hedgerow.tasks import digits
from hedgerow.training import local_epochs
from hedgerow.update import Layout

JOB = Job(local=Local(batch=16, lr=0.3), privacy=Privacy(unit="none"), secure=Secure(mode="off"))
SIX = Scenario(sites=6, seed=3)


def plain_app(job: Job, task: Task) -> ClientApp:
    """A ClientApp as Flower's quickstart writes it, one site after another."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        index = int(context.node_config["partition-id"])
        data = task.data(Site(name=str(index), index=index, count=6)).train
        model = task.model()
        model.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
        config = message.content.config_records["config"]
        number, pull = int(str(config["server-round"])), float(str(config.get("proximal-mu", 0.0)))
        local_epochs(
            model,
            torch.from_numpy(data.x),
            torch.from_numpy(data.y),
            settings=job.local if not pull else Local(batch=16, lr=0.3, proximal=pull),
            loss=task.loss,
            randomness=SimulatedRandomness(3, 4, index, number),
        )
        content = RecordDict(
            {"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord({"num-examples": len(data)})}
        )
        return Message(content, reply_to=message)

    return app


@pytest.mark.parametrize(
    "make",
    [
        lambda: FedAvg(fraction_evaluate=0.0),
        lambda: FedAvg(fraction_train=0.5, fraction_evaluate=0.0),
        lambda: FedProx(fraction_evaluate=0.0, proximal_mu=0.5),
        lambda: FedAdam(fraction_evaluate=0.0),
        lambda: Krum(fraction_evaluate=0.0, num_malicious_nodes=1),
    ],
)
def test_a_strategy_gets_what_clients_one_by_one_would_give_it(make: Callable[[], Strategy]) -> None:
    import random

    random.seed(5)  # Flower draws its cohorts from the global generator
    with CohortGrid(JOB, digits(hidden=0), scenario=SIX) as grid:
        first = grid.first_model
        together = grid.run_strategy(make(), rounds=3)
    server = ServerApp()
    alone: list[ArrayRecord] = []

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        alone.append(make().start(grid, initial_arrays=first, num_rounds=3).arrays)

    random.seed(5)
    run_simulation(server, plain_app(JOB, split(digits(hidden=0), SIX)), 6)
    for name, array in together.arrays.items():
        assert np.allclose(array.numpy(), alone[0][name].numpy(), atol=1e-5)


def test_a_reply_can_be_changed_without_changing_anybody_elses_numbers() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    array = LazyArray(values)
    array.numpy()[:] = -1
    assert np.array_equal(array.numpy(), values) and array.shape == (2, 3) and array.dtype == "float32"


def test_a_reply_goes_over_a_wire_like_any_other() -> None:
    values = np.arange(6, dtype=np.float32)
    with task_identity(run_id=1, node_id=0, task_id=1):
        message = Message(RecordDict({"arrays": ArrayRecord({"w": LazyArray(values)})}), 1, "train")
        arrived = over_the_wire(message)
    assert np.array_equal(arrived.content.array_records["arrays"]["w"].numpy(), values)


def test_a_strategy_that_sends_another_model_gets_errors_back() -> None:
    with CohortGrid(JOB, digits(hidden=0), scenario=SIX) as grid, task_identity(run_id=1, node_id=0, task_id=1):
        content = RecordDict({"arrays": ArrayRecord([np.zeros(3, np.float32)]), "config": ConfigRecord({})})
        (reply,) = grid.send_and_receive([Message(content, 1, "train")])
    assert reply.has_error() and reply.error.reason == "wrong shape or size"


def test_sites_that_hold_nothing_out_answer_an_evaluation_with_an_error() -> None:
    with CohortGrid(JOB, digits(hidden=0), scenario=SIX) as grid, task_identity(run_id=1, node_id=0, task_id=1):
        (reply,) = grid.send_and_receive([Message(RecordDict({"arrays": grid.first_model}), 2, "evaluate")])
    assert reply.has_error()


def test_sites_that_hold_records_out_evaluate() -> None:
    with CohortGrid(JOB, Halves(own=10), scenario=SIX) as grid:
        result = grid.run_strategy(FedAvg(), rounds=2)
    assert set(result.evaluate_metrics_clientapp) == {1, 2}
    assert 0 <= result.evaluate_metrics_clientapp[2]["accuracy"] <= 1  # type: ignore[operator]


def test_a_servers_own_app_runs_on_it() -> None:
    app = ServerApp()
    seen: list[int] = []

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        seen.append(len(list(grid.get_node_ids())))
        assert context.run_config["rounds"] == 2

    with CohortGrid(JOB, digits(hidden=0), scenario=SIX) as grid:
        grid.run_app(app, run_config={"rounds": 2})
    assert seen == [6]


def test_the_layout_of_a_reply_is_the_requests() -> None:
    with CohortGrid(JOB, digits(hidden=0), scenario=SIX) as grid, task_identity(run_id=1, node_id=0, task_id=1):
        request = Message(RecordDict({"model": grid.first_model}), 3, "train")
        (reply,) = grid.send_and_receive([request])
    assert list(reply.content.array_records["model"]) == list(Layout.of(digits(hidden=0).model()).names)
    assert reply.content.metric_records["metrics"]["num-examples"] > 0  # type: ignore[operator]


@pytest.mark.parametrize(
    ("job", "scenario"),
    [
        (Job(privacy=Privacy(unit="record", epsilon=3.0, delta=1e-3), secure=Secure(mode="off")), SIX),
        (JOB, Scenario(sites=6, attack="sign-flip", attackers=1)),
        (JOB, Scenario(sites=6, latency="constant:1")),
    ],
)
def test_what_only_a_whole_run_can_keep_is_refused(job: Job, scenario: Scenario) -> None:
    with pytest.raises(Misconfigured) as caught:
        CohortGrid(job, digits(hidden=0), scenario=scenario)
    assert caught.value.code == "E105" and "simulate" in caught.value.hint
