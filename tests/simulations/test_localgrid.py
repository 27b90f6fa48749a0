"""Flower's own strategies and plain Flower apps, unchanged, in this process."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import arrays_size_mod
from flwr.clientapp.typing import ClientAppCallable
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAdam, FedAvg, FedMedian, Krum, Result, Strategy
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

from hedgerow.errors import Misconfigured
from hedgerow.flowercompat import empty_run, task_identity
from hedgerow.simulations import LocalGrid, LocalNode, run_simulation

SEEN = dict[str, Any]


def blobs(site: int, sites: int, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Two clouds in the plane, drawn for this site."""
    rng = np.random.default_rng([site, sites])
    y = rng.integers(0, 2, n)
    return (rng.standard_normal((n, 2)) + 3 * y[:, None]).astype(np.float32), y


def server(strategy: Strategy, arrays: ArrayRecord, rounds: int, results: list[Result]) -> ServerApp:
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        results.append(strategy.start(grid, arrays, num_rounds=rounds))

    return app


def simulate(
    strategy: Strategy, client: ClientApp, arrays: ArrayRecord, *, sites: int = 5, rounds: int = 3, **options: Any
) -> Result:
    results: list[Result] = []
    run_simulation(server(strategy, arrays, rounds, results), client, sites, **options)
    return results[0]


def numpy_app(seen: SEEN | None = None) -> ClientApp:
    """Least squares by gradient steps, arrays by position, as in Flower's numpy quickstart."""
    app = ClientApp()

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        site, sites = int(context.node_config["partition-id"]), int(context.node_config["num-partitions"])
        x, y = blobs(site, sites)
        w, b = msg.content["arrays"].to_numpy_ndarrays()  # type: ignore[union-attr]
        for _ in range(5):
            error = x @ w + b - y
            w, b = w - 0.05 * x.T @ error / len(y), b - 0.05 * error.mean(keepdims=True)
        loss = float(np.mean((x @ w + b - y) ** 2))
        content = RecordDict(
            {
                "arrays": ArrayRecord([w.astype(np.float32), b.astype(np.float32)]),
                "metrics": MetricRecord({"num-examples": len(y), "train_loss": loss}),
            }
        )
        return Message(content=content, reply_to=msg)

    @app.evaluate()
    def evaluate(msg: Message, context: Context) -> Message:
        x, y = blobs(int(context.node_config["partition-id"]), int(context.node_config["num-partitions"]))
        w, b = msg.content["arrays"].to_numpy_ndarrays()  # type: ignore[union-attr]
        metrics = MetricRecord({"num-examples": len(y), "accuracy": float(np.mean((x @ w + b > 0.5) == y))})
        return Message(content=RecordDict({"metrics": metrics}), reply_to=msg)

    return app


def torch_app() -> ClientApp:
    """State dicts and SGD, as in Flower's PyTorch quickstart."""
    app = ClientApp()

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        model = net()
        model.load_state_dict(msg.content["arrays"].to_torch_state_dict())  # type: ignore[union-attr]
        x, y = (torch.from_numpy(part) for part in blobs(int(context.node_config["partition-id"]), 5))
        optimizer = torch.optim.SGD(model.parameters(), lr=float(msg.content["config"]["lr"]), momentum=0.9)  # type: ignore[arg-type]
        for _ in range(int(context.run_config["local-epochs"])):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x), y)
            torch.autograd.backward(loss)
            optimizer.step()
        content = RecordDict(
            {
                "arrays": ArrayRecord(model.state_dict()),
                "metrics": MetricRecord({"train_loss": loss.item(), "num-examples": len(y)}),
            }
        )
        return Message(content=content, reply_to=msg)

    @app.evaluate()
    def evaluate(msg: Message, context: Context) -> Message:
        model = net()
        model.load_state_dict(msg.content["arrays"].to_torch_state_dict(keep_input=False))  # type: ignore[union-attr]
        x, y = (torch.from_numpy(part) for part in blobs(int(context.node_config["partition-id"]), 5))
        accuracy = float((model(x).argmax(1) == y).float().mean())
        content = RecordDict({"metrics": MetricRecord({"eval_acc": accuracy, "num-examples": len(y)})})
        return Message(content=content, reply_to=msg)

    return app


def net() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))


def sklearn_app() -> ClientApp:
    """Warm-started logistic regression, as in Flower's scikit-learn quickstart: its parameters are float64."""
    app = ClientApp()

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        x, y = blobs(int(context.node_config["partition-id"]), 5)
        model = LogisticRegression(max_iter=2, warm_start=True)
        model.classes_ = np.array([0, 1])
        model.coef_, model.intercept_ = msg.content["arrays"].to_numpy_ndarrays()  # type: ignore[union-attr]
        model.fit(x.astype(np.float64), y)
        content = RecordDict(
            {
                "arrays": ArrayRecord([model.coef_, model.intercept_]),
                "metrics": MetricRecord({"num-examples": len(y), "accuracy": float(model.score(x, y))}),
            }
        )
        return Message(content=content, reply_to=msg)

    return app


def zeros() -> ArrayRecord:
    return ArrayRecord([np.zeros(2, np.float32), np.zeros(1, np.float32)])


def bytes_of(result: Result) -> bytes:
    return b"".join(array.data for array in result.arrays.values())


STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "FedAvg": lambda: FedAvg(min_available_nodes=5),
    "Krum": lambda: Krum(num_malicious_nodes=1),
    "FedAdam": lambda: FedAdam(eta=0.1),
    "FedMedian": FedMedian,
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_flower_s_strategies_learn_with_a_numpy_app(name: str) -> None:
    result = simulate(STRATEGIES[name](), numpy_app(), zeros(), rounds=6)
    accuracies = [float(metrics["accuracy"]) for metrics in result.evaluate_metrics_clientapp.values()]  # type: ignore[arg-type]
    assert len(accuracies) == 6 and accuracies[-1] > 0.9
    assert [array.shape for array in result.arrays.to_numpy_ndarrays()] == [(2,), (1,)]


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_trip_through_serialisation_changes_no_byte(name: str) -> None:
    direct = simulate(STRATEGIES[name](), numpy_app(), zeros())
    wired = simulate(STRATEGIES[name](), numpy_app(), zeros(), wire=True)
    assert bytes_of(direct) == bytes_of(wired)
    assert direct.train_metrics_clientapp == wired.train_metrics_clientapp


def test_fedavg_is_the_weighted_mean_of_what_the_clients_made() -> None:
    app = ClientApp()

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        site = int(context.node_config["partition-id"])
        content = RecordDict(
            {
                "arrays": ArrayRecord([np.full(2, site, np.float32)]),
                "metrics": MetricRecord({"num-examples": site + 1}),
            }
        )
        return Message(content, reply_to=msg)

    result = simulate(FedAvg(fraction_evaluate=0.0), app, ArrayRecord([np.zeros(2, np.float32)]), sites=3, rounds=1)
    np.testing.assert_allclose(result.arrays.to_numpy_ndarrays()[0], (0 * 1 + 1 * 2 + 2 * 3) / 6, rtol=1e-6)


def test_a_torch_app_runs_unchanged() -> None:
    torch.manual_seed(0)
    arrays = ArrayRecord(net().state_dict())
    results: list[Result] = []
    strategy = FedAvg(fraction_train=1.0)
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        rounds = int(context.run_config["num-server-rounds"])
        results.append(
            strategy.start(grid=grid, initial_arrays=arrays, train_config=ConfigRecord({"lr": 0.1}), num_rounds=rounds)
        )

    run_simulation(app, torch_app(), 5, run_config={"num-server-rounds": 4, "local-epochs": 3})
    assert float(results[0].evaluate_metrics_clientapp[4]["eval_acc"]) > 0.9  # type: ignore[arg-type]
    net().load_state_dict(results[0].arrays.to_torch_state_dict())


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_a_scikit_learn_app_runs_unchanged() -> None:
    arrays = ArrayRecord([np.zeros((1, 2)), np.zeros(1)])
    result = simulate(FedAvg(fraction_evaluate=0.0), sklearn_app(), arrays, rounds=4)
    assert float(result.train_metrics_clientapp[4]["accuracy"]) > 0.9  # type: ignore[arg-type]
    assert result.arrays.to_numpy_ndarrays()[0].dtype == np.float64


def test_a_client_keeps_its_state_from_round_to_round_and_only_its_own() -> None:
    app = ClientApp()

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        if "mine" not in context.state:
            context.state["mine"] = ConfigRecord({"rounds": 0, "node": context.node_id})
        mine = context.state.config_records["mine"]
        assert mine["node"] == context.node_id
        mine["rounds"] = int(mine["rounds"]) + 1  # type: ignore[arg-type]
        metrics = MetricRecord({"num-examples": 1, "rounds": mine["rounds"]})  # type: ignore[dict-item]
        return Message(RecordDict({"arrays": msg.content["arrays"], "metrics": metrics}), reply_to=msg)

    result = simulate(FedAvg(fraction_evaluate=0.0), app, zeros(), rounds=4)
    assert [metrics["rounds"] for metrics in result.train_metrics_clientapp.values()] == pytest.approx([1, 2, 3, 4])


@pytest.mark.parametrize("wire", [False, True])
def test_a_model_kept_in_the_state_and_changed_there_changes_no_reply(wire: bool) -> None:
    """Personalisation: the client's own layer lives in the same record that it sent the round before."""
    app = ClientApp()
    kept: list[RecordDict] = []

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        for content in kept:  # whatever any client still holds, it overwrites
            content["arrays"] = ArrayRecord([np.full(1, 1e6, np.float32)])
            content.metric_records["metrics"]["num-examples"] = 999
        (value,) = msg.content.array_records["arrays"].to_numpy_ndarrays()
        content = RecordDict(
            {"arrays": ArrayRecord([value + 1]), "metrics": MetricRecord({"num-examples": 1})},
        )
        context.state["arrays"] = content["arrays"]
        kept.append(content)
        return Message(content, reply_to=msg)

    start = ArrayRecord([np.zeros(1, np.float32)])
    result = simulate(FedAvg(fraction_evaluate=0.0), app, start, rounds=3, wire=wire)
    assert result.arrays.to_numpy_ndarrays()[0].tolist() == [3.0]


def test_mods_run_around_the_app_outermost_first() -> None:
    order: list[str] = []

    def mod(name: str) -> Callable[[Message, Context, ClientAppCallable], Message]:
        def around(msg: Message, context: Context, call_next: ClientAppCallable) -> Message:
            order.append(f"{name} in")
            reply = call_next(msg, context)
            order.append(f"{name} out")
            reply.content.metric_records["metrics"][name] = 1.0
            return reply

        return around

    app = ClientApp(mods=[mod("outer"), arrays_size_mod, mod("inner")])

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        order.append("app")
        content = RecordDict({"arrays": msg.content["arrays"], "metrics": MetricRecord({"num-examples": 1})})
        return Message(content, reply_to=msg)

    result = simulate(FedAvg(fraction_evaluate=0.0, min_available_nodes=2), app, zeros(), sites=2, rounds=1)
    assert order[:5] == ["outer in", "inner in", "app", "inner out", "outer out"]
    assert result.train_metrics_clientapp[1]["outer"] == 1.0


def spoil(msg: Message) -> None:
    """Everything a client can do to a message it received."""
    msg.metadata.ttl = -1.0
    arrays = msg.content.array_records["arrays"]
    for array in arrays.values():
        view = array.numpy()
        if view.flags.writeable:
            view[...] = 1e9
        array.data = b"spoilt"
        array.shape = (9,)
    first = next(iter(arrays))
    arrays[first] = Array(np.full(3, 1e9, np.float32))
    arrays["new"] = Array(np.zeros(1))
    config = msg.content.config_records["config"]
    config["many"].append(9)  # type: ignore[union-attr, arg-type]
    config["server-round"] = -7
    config["x"] = "y"
    del msg.content["arrays"]
    msg.content["arrays"] = ArrayRecord()


@pytest.mark.parametrize("wire", [False, True])
def test_a_client_that_spoils_what_it_received_spoils_it_for_nobody(wire: bool) -> None:
    app = ClientApp()
    got: list[tuple[object, ...]] = []

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        record = msg.content.array_records["arrays"]
        config = msg.content.config_records["config"]
        values = [array.tolist() for array in record.to_numpy_ndarrays(keep_input=True)]
        got.append((values, list(config["many"]), config["server-round"], "x" in config, msg.metadata.ttl))  # type: ignore[arg-type]
        reply = Message(
            RecordDict({"arrays": ArrayRecord(dict(record)), "metrics": MetricRecord({"num-examples": 1})}),
            reply_to=msg,
        )
        record.to_numpy_ndarrays(keep_input=False)
        record.update({"0": Array(np.zeros(2, np.float32)), "1": Array(np.zeros(1, np.float32))})
        spoil(msg)
        return reply

    mine = ArrayRecord([np.array([1, 2], np.float32), np.array([3], np.float32)])
    config = ConfigRecord({"many": [1, 2]})
    results: list[Result] = []
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        strategy = FedAvg(fraction_evaluate=0.0)
        results.append(strategy.start(grid, mine, num_rounds=2, train_config=config))

    run_simulation(server_app, app, 4, wire=wire)
    assert [entry[:2] for entry in got] == [([[1.0, 2.0], [3.0]], [1, 2])] * 8
    assert [entry[2] for entry in got] == [1] * 4 + [2] * 4
    assert all(entry[3] is False and entry[4] > 0 for entry in got)  # type: ignore[operator]
    assert [array.tolist() for array in mine.to_numpy_ndarrays()] == [[1.0, 2.0], [3.0]]
    assert results[0].arrays.to_numpy_ndarrays()[0].tolist() == [1.0, 2.0]


def grid_of(app: ClientApp | Callable[[Message, Context], Message], nodes: int = 3, *, wire: bool = False) -> LocalGrid:
    return LocalGrid(
        app, [LocalNode(node_id=number + 1, config={"partition-id": number}) for number in range(nodes)], wire=wire
    )


def words_of(message: Message) -> str:
    return repr(message.error) if message.has_error() else repr(message.content)


@pytest.mark.parametrize("wire", [False, True])
@pytest.mark.parametrize("error", [ValueError("secret patient 42"), SystemExit("secret patient 42"), KeyError(42)])
def test_a_raising_client_becomes_an_error_with_a_constant_text(error: BaseException, wire: bool) -> None:
    def app(msg: Message, context: Context) -> Message:
        if context.node_id == 2:
            raise error
        return Message(RecordDict(), reply_to=msg)

    with task_identity(run_id=1, node_id=0, task_id=1):
        grid = grid_of(app, wire=wire)
        replies = grid.send_and_receive([Message(RecordDict(), node, "train") for node in (1, 2, 3)])
    assert [reply.has_error() for reply in replies] == [False, True, False]
    assert (replies[1].error.code, replies[1].error.reason) == (2, "the site failed while training")
    assert not any("secret" in words_of(reply) or "42" in words_of(reply) for reply in replies)


@pytest.mark.parametrize(
    "answer",
    [
        lambda msg: None,
        lambda msg: "text",
        lambda msg: Message(RecordDict(), 1, "train"),
        lambda msg: Message(RecordDict(), reply_to=Message(RecordDict(), 1, "train")),
    ],
)
def test_an_answer_that_is_no_reply_to_the_question_becomes_an_error(answer: Callable[[Message], Any]) -> None:
    with task_identity(run_id=1, node_id=0, task_id=1):
        grid = grid_of(lambda msg, context: answer(msg))
        (reply,) = grid.send_and_receive([Message(RecordDict(), 1, "train")])
    assert reply.has_error() and reply.metadata.src_node_id == 1


def test_an_interruption_is_not_a_client_s_error() -> None:
    def app(msg: Message, context: Context) -> Message:
        raise KeyboardInterrupt

    with task_identity(run_id=1, node_id=0, task_id=1), pytest.raises(KeyboardInterrupt):
        grid_of(app).send_and_receive([Message(RecordDict(), 1, "train")])


def test_flower_goes_on_without_the_client_that_raised() -> None:
    honest = numpy_app()
    calls: list[int] = []

    def app(msg: Message, context: Context) -> Message:
        calls.append(context.node_id)
        if context.node_id == 3:
            raise RuntimeError("secret patient 42")
        return honest(msg, context)

    results: list[Result] = []
    strategy = FedAvg(fraction_evaluate=0.0)
    run_simulation(server(strategy, zeros(), 2, results), app, 4)  # type: ignore[arg-type]
    assert calls.count(3) == 2 and len(results[0].train_metrics_clientapp) == 2


def test_an_app_without_a_handler_for_the_message_is_an_error_too() -> None:
    with task_identity(run_id=1, node_id=0, task_id=1):
        (reply,) = grid_of(ClientApp()).send_and_receive([Message(RecordDict(), 1, "query")])
    assert reply.has_error()


def test_a_message_to_nobody_is_answered_with_an_error() -> None:
    with task_identity(run_id=1, node_id=0, task_id=1):
        (reply,) = grid_of(numpy_app()).send_and_receive([Message(RecordDict(), 99, "train")])
    assert reply.has_error() and reply.error.reason == "no such node"


def test_replies_come_in_the_order_of_the_nodes_whatever_the_order_of_asking() -> None:
    def app(msg: Message, context: Context) -> Message:
        return Message(RecordDict({"m": MetricRecord({"node": context.node_id})}), reply_to=msg)

    with task_identity(run_id=1, node_id=0, task_id=1):
        for order in ([1, 2, 3], [3, 1, 2]):
            grid = grid_of(app)
            replies = grid.send_and_receive(Message(RecordDict(), node, "train") for node in order)
            assert [reply.metadata.src_node_id for reply in replies] == [1, 2, 3]


def test_the_order_in_which_nodes_are_listed_changes_no_byte() -> None:
    def final(order: list[int]) -> bytes:
        nodes = [LocalNode(node_id=n + 1, config={"partition-id": n, "num-partitions": 5}) for n in order]
        results: list[Result] = []
        app = server(FedAvg(fraction_evaluate=0.0), zeros(), 3, results)
        from hedgerow.simulations.localgrid import run_in_process

        run_in_process(app, numpy_app(), nodes)
        return bytes_of(results[0])

    assert final([0, 1, 2, 3, 4]) == final([3, 0, 4, 2, 1])


def test_a_message_is_answered_once_and_only_when_pulled() -> None:
    calls: list[int] = []

    def app(msg: Message, context: Context) -> Message:
        calls.append(context.node_id)
        return Message(RecordDict(), reply_to=msg)

    with task_identity(run_id=1, node_id=0, task_id=1):
        grid = grid_of(app)
        first, second = grid.push_messages(Message(RecordDict(), node, "train") for node in (1, 2))
        assert calls == []
        (reply,) = grid.pull_messages([second])
        assert calls == [2] and reply.metadata.reply_to_message_id == second
        assert grid.pull_messages([second, "never sent"]) == [] and calls == [2]
        assert len(grid.pull_messages([first, second])) == 1


def test_messages_that_nobody_pulls_are_forgotten_after_their_time() -> None:
    def app(msg: Message, context: Context) -> Message:
        return Message(RecordDict(), reply_to=msg)

    with task_identity(run_id=1, node_id=0, task_id=1):
        grid = grid_of(app)
        old = Message(RecordDict(), 1, "train")
        old.metadata.ttl = -1.0
        (expired,) = grid.push_messages([old])
        (kept,) = grid.push_messages([Message(RecordDict(), 2, "train")])
        replies = grid.pull_messages([expired, kept])
    assert [reply.metadata.src_node_id for reply in replies] == [2]


def test_it_is_a_grid() -> None:
    grid = grid_of(numpy_app(), 2)
    grid.set_run(empty_run(8))
    assert isinstance(grid, Grid) and grid.run.run_id == 8 and grid.get_node_ids() == [1, 2]
    with task_identity(run_id=8, node_id=0, task_id=1):
        message = grid.create_message(RecordDict(), "train", 2, "5", ttl=9.0)
        assert (message.metadata.dst_node_id, message.metadata.group_id, message.metadata.ttl) == (2, "5", 9.0)
        assert not Message(Error(1, "x"), reply_to=message).has_content()


def test_fewer_than_one_node_is_refused() -> None:
    with pytest.raises(Misconfigured) as caught:
        run_simulation(ServerApp(), ClientApp(), 0)
    assert caught.value.code == "E103"


def test_what_the_server_raises_is_passed_on_and_its_context_returned() -> None:
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        if context.run_config["fail"]:
            raise ZeroDivisionError
        context.state["kept"] = MetricRecord({"x": 1})

    with pytest.raises(ZeroDivisionError):
        run_simulation(app, ClientApp(), 1, run_config={"fail": True})
    context = run_simulation(app, ClientApp(), 1, run_config={"fail": False})
    assert context.state.metric_records["kept"]["x"] == 1
