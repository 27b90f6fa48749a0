"""Our Strategy as Flower sees it: with our ClientApp, with other people's, with hostile ones, and resumed."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import Result
from flwr.serverapp.strategy import Strategy as FlowerStrategy

from hedgerow.errors import Exhausted, HedgerowError
from hedgerow.events import Event
from hedgerow.job import Job
from hedgerow.server import PolicyGrid, Strategy
from hedgerow.server.round import GlobalState
from hedgerow.simulations import run_simulation
from hedgerow.update import Layout
from hedgerow.wire import failure_content, reply_content

MakeJob = Callable[..., Job]
Answer = Callable[[int, int, np.ndarray], RecordDict]

MODEL = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.float32)}
SIZE = 8


def record(arrays: Mapping[str, np.ndarray]) -> ArrayRecord:
    return ArrayRecord({name: Array(value) for name, value in arrays.items()})


def vector(arrays: ArrayRecord) -> np.ndarray:
    return np.concatenate([array.numpy().ravel() for array in arrays.values()])


def answering(answer: Answer, *, evaluate: Callable[[int], MetricRecord] | None = None) -> ClientApp:
    """A ClientApp that replies with `answer(node, round, the model it got)`."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        number = message.content.config_records["config"]["server-round"]
        assert isinstance(number, int)
        content = answer(context.node_id, number, vector(message.content.array_records["arrays"]))
        return Message(content, reply_to=message)

    @app.evaluate()
    def evaluated(message: Message, context: Context) -> Message:
        assert evaluate is not None
        return Message(RecordDict({"metrics": evaluate(context.node_id)}), reply_to=message)

    return app


def run(
    strategy: Strategy, app: ClientApp, nodes: int = 4, *, arrays: ArrayRecord | None = None, **start: Any
) -> Result:
    """One Flower run of the strategy; what it raises is passed on."""
    results: list[Result] = []
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        results.append(strategy.start(grid, record(MODEL) if arrays is None else arrays, **start))

    run_simulation(server, app, nodes)
    return results[0]


def unit_update(node: int, number: int, model: np.ndarray) -> RecordDict:
    return reply_content(np.eye(SIZE, dtype=np.float32)[node], site=f"ward-{node}", examples=5)


def kinds(events: list[Event], kind: str) -> list[Any]:
    return [event for event in events if type(event).__name__ == kind]


def test_it_is_a_strategy_of_flower_s(job: MakeJob) -> None:
    assert isinstance(Strategy(job()), FlowerStrategy)


def test_updates_become_the_model_the_events_and_the_checkpoint(job: MakeJob) -> None:
    events: list[Event] = []
    saved: list[tuple[int, GlobalState]] = []

    def save(number: int, state: GlobalState, announce: Callable[[str], None]) -> None:
        saved.append((number, state))
        announce(f"hash {number}")

    result = run(Strategy(job(rounds=2), tell=events.append, save=save), answering(unit_update))
    expected = np.concatenate([MODEL["w"].ravel(), MODEL["b"]])
    expected[1:5] += 2 * 0.25
    np.testing.assert_allclose(vector(result.arrays), expected)
    assert list(result.arrays) == ["w", "b"] and result.arrays["w"].numpy().shape == (2, 3)
    assert [number for number, _ in saved] == [1, 2]
    assert saved[-1][1].model.tobytes() == vector(result.arrays).tobytes()
    closed = kinds(events, "RoundClosed")
    assert [event.model_sha256 for event in closed] == ["hash 1", "hash 2"]
    assert closed[0].accepted == ("ward-1", "ward-2", "ward-3", "ward-4")
    assert closed[0].bytes_up > 4 * 4 * SIZE and closed[0].bytes_down > 4 * 4 * SIZE


def test_nothing_leaves_before_it_is_saved(job: MakeJob) -> None:
    seen: list[int] = []

    def save(number: int, state: GlobalState, announce: Callable[[str], None]) -> None:
        raise Exhausted("E503", "no space")

    def answer(node: int, number: int, model: np.ndarray) -> RecordDict:
        seen.append(number)
        return unit_update(node, number, model)

    events: list[Event] = []
    with pytest.raises(Exhausted):
        run(Strategy(job(rounds=2), save=save, tell=events.append), answering(answer))
    assert set(seen) == {1} and not kinds(events, "RoundClosed")


def test_a_foreign_client_answers_with_full_parameters_and_integer_buffers_as_it_does_under_flower(
    job: MakeJob,
) -> None:
    """BatchNorm's counters are sent along, in their place, and never averaged."""

    def net() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))

    torch.manual_seed(0)
    first = net()
    with torch.no_grad():
        first.state_dict()["1.num_batches_tracked"].fill_(7)
    app = ClientApp()
    got: list[list[str]] = []

    @app.train()
    def train(message: Message, context: Context) -> Message:
        arrays = message.content.array_records["arrays"]
        got.append(list(arrays))
        model = net()
        model.load_state_dict(arrays.to_torch_state_dict(), strict=True)
        assert int(model.state_dict()["1.num_batches_tracked"]) == 7
        generator = torch.Generator().manual_seed(context.node_id)
        model(torch.randn(8, 3, generator=generator)).sum().backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()
        content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord({"num-examples": 8})})
        return Message(content, reply_to=message)

    events: list[Event] = []
    result = run(Strategy(job(rounds=2), tell=events.append), app, arrays=ArrayRecord(first.state_dict()))
    assert got[0] == list(first.state_dict()) == list(result.arrays)
    assert [event.rejected for event in kinds(events, "RoundClosed")] == [[], []]
    after = result.arrays.to_torch_state_dict()
    assert int(after["1.num_batches_tracked"]) == 7
    assert not torch.equal(after["1.running_mean"], first.state_dict()["1.running_mean"])
    net().load_state_dict(after, strict=True)


def test_full_parameters_and_updates_give_the_same_model(job: MakeJob) -> None:
    def full(node: int, number: int, model: np.ndarray) -> RecordDict:
        new = model + np.eye(SIZE, dtype=np.float32)[node]
        return RecordDict({"arrays": record({"w": new[:6].reshape(2, 3), "b": new[6:]})})

    ours, theirs = (run(Strategy(job(rounds=3)), answering(answer)) for answer in (unit_update, full))
    np.testing.assert_allclose(vector(theirs.arrays), vector(ours.arrays), atol=1e-6)


HOSTILE: dict[str, Callable[[np.ndarray], RecordDict]] = {
    "NaN": lambda model: reply_content(np.full(SIZE, np.nan, np.float32), site="evil"),
    "huge": lambda model: reply_content(np.full(SIZE, 3e38, np.float32), site="evil"),
    "a wrong shape": lambda model: reply_content(np.zeros(SIZE - 1, np.float32), site="evil"),
    "a wrong dtype": lambda model: RecordDict({"update": ArrayRecord({"flat": Array(np.zeros(SIZE))})}),
    "10^12 examples": lambda model: reply_content(np.zeros(SIZE, np.float32), site="evil", examples=10**12),
    "minus one example": lambda model: reply_content(np.zeros(SIZE, np.float32), site="evil", examples=-1),
    "garbage": lambda model: RecordDict(
        {"update": ArrayRecord({"flat": Array("float32", (SIZE,), "numpy.ndarray", b"x" * 40)})}
    ),
    "nothing": lambda model: RecordDict(),
    "a refusal": lambda model: failure_content("E201", site="evil"),
    "an unknown code": lambda model: failure_content("no such code", site="evil"),
    "a missing layer": lambda model: RecordDict({"arrays": record({"w": MODEL["w"]})}),
    "an extra layer": lambda model: RecordDict({"arrays": record({**MODEL, "x": MODEL["b"]})}),
}


@pytest.mark.parametrize("rule", ["mean", "trimmed-mean"])
@pytest.mark.parametrize("payload", HOSTILE)
def test_a_bad_payload_every_round_gives_the_bytes_of_the_run_without_that_site(
    payload: str, rule: str, job: MakeJob
) -> None:
    agreed = job(rounds=3, aggregate__rule=rule, aggregate__byzantine=int(rule != "mean"))

    def answer(node: int, number: int, model: np.ndarray) -> RecordDict:
        return HOSTILE[payload](model) if node == 5 else unit_update(node, number, model)

    events: list[Event] = []
    attacked = run(Strategy(agreed, tell=events.append), answering(answer), nodes=5)
    peaceful = run(Strategy(agreed), answering(unit_update), nodes=4)
    assert vector(attacked.arrays).tobytes() == vector(peaceful.arrays).tobytes()
    closed = kinds(events, "RoundClosed")
    assert len(closed) == 3 and all(len(event.rejected) == 1 for event in closed)


def test_a_raising_client_is_out_and_its_words_stay_at_home(job: MakeJob) -> None:
    def answer(node: int, number: int, model: np.ndarray) -> RecordDict:
        if node == 2 and number == 2:
            raise ValueError("secret patient 42")
        return unit_update(node, number, model)

    events: list[Event] = []
    run(Strategy(job(), tell=events.append), answering(answer))
    rejected = [event.rejected for event in kinds(events, "RoundClosed")]
    assert rejected == [
        [],
        [{"site": "ward-2", "code": "E308", "reason": "the site failed while training"}],
        [],
    ]
    assert "secret" not in repr(events)


def test_a_site_that_takes_a_new_name_declares_no_new_count(job: MakeJob) -> None:
    agreed = job(aggregate__weights="examples", rounds=2)

    def greedy(node: int, number: int, model: np.ndarray) -> RecordDict:
        site, claim = ("ward-1", 5) if node != 1 or number == 1 else ("fresh", 10**9)
        return reply_content(
            np.eye(SIZE, dtype=np.float32)[node], site=site if node == 1 else f"ward-{node}", examples=claim
        )

    events: list[Event] = []
    moved = run(Strategy(agreed, tell=events.append), answering(greedy))
    still = run(Strategy(agreed), answering(unit_update))
    assert vector(moved.arrays).tobytes() == vector(still.arrays).tobytes()
    assert kinds(events, "RoundClosed")[1].accepted == ("ward-1", "ward-2", "ward-3", "ward-4")


def test_a_site_under_another_s_name_does_not_have_the_other_rejected(job: MakeJob) -> None:
    """Node 1 calls itself as node 3, at once or a round later, and node 2 as node 4's number: every update counts."""

    def squatting(late: bool) -> Answer:
        def answer(node: int, number: int, model: np.ndarray) -> RecordDict:
            name = {1: "ward-3", 2: "node-4"}.get(node, f"ward-{node}")
            if late and node == 1 and number == 1:
                return failure_content("E308", site="")
            return reply_content(np.eye(SIZE, dtype=np.float32)[node], site=name)

        return answer

    for late, holder in ((False, "node-3"), (True, "ward-3")):
        events: list[Event] = []
        run(Strategy(job(rounds=3), tell=events.append), answering(squatting(late)))
        last = kinds(events, "RoundClosed")[-1]
        assert not last.rejected and set(last.accepted) == {"node-1", "node-2", holder, "ward-4"}


def resumed_with(agreed: Job, state: GlobalState, answer: Answer, *, nodes: int) -> tuple[list[Any], GlobalState]:
    """The rounds that close after the second one, and the last one's state."""
    events: list[Event] = []
    states: list[GlobalState] = []

    def save(number: int, state: GlobalState, announce: Callable[[str], None]) -> None:
        states.append(state)
        announce("")

    run(Strategy(agreed, tell=events.append, save=save, state=state, first_round=3), answering(answer), nodes)
    return kinds(events, "RoundClosed"), states[-1]


def after_two_rounds(job: MakeJob) -> GlobalState:
    states: list[GlobalState] = []

    def save(number: int, state: GlobalState, announce: Callable[[str], None]) -> None:
        states.append(state)
        announce("")

    run(Strategy(job(aggregate__weights="examples", rounds=2), save=save), answering(unit_update))
    return states[-1]


def test_after_a_resume_a_new_node_does_not_get_the_name_of_one_that_is_away(job: MakeJob) -> None:
    state = after_two_rounds(job)
    assert state.nodes == {node: f"ward-{node}" for node in (1, 2, 3, 4)}

    def answer(node: int, number: int, model: np.ndarray) -> RecordDict:
        if node == 4 and number == 3:
            return failure_content("E308", site="")
        site = "ward-4" if node == 5 else f"ward-{node}"
        return reply_content(np.eye(SIZE, dtype=np.float32)[node], site=site, examples=5 if node < 5 else 10**6)

    agreed = job(aggregate__weights="examples", rounds=4)
    rounds, last = resumed_with(agreed, state, answer, nodes=5)
    wards = ("ward-1", "ward-2", "ward-3", "ward-4")
    assert [round_.accepted for round_ in rounds] == [("node-5", *wards[:3]), ("node-5", *wards)]
    assert last.nodes == {**state.nodes, 5: "node-5"}
    assert last.declared["ward-4"] == 5


def test_where_no_node_of_the_stopped_run_is_left_names_go_to_those_who_claim_them(
    job: MakeJob, caplog: pytest.LogCaptureFixture
) -> None:
    """A new SuperLink: the sites are the same, their numbers are not."""
    state = after_two_rounds(job)
    before = replace(state, nodes={node + 100: name for node, name in state.nodes.items()})
    agreed = job(aggregate__weights="examples", rounds=4)
    rounds, last = resumed_with(agreed, before, unit_update, nodes=3)
    assert rounds[-1].accepted == ("ward-1", "ward-2", "ward-3")
    assert last.nodes == {1: "ward-1", 2: "ward-2", 3: "ward-3", 104: "ward-4"}
    assert caplog.text.count("no node of the stopped run is connected") == 1


def test_a_void_round_changes_nothing_and_the_next_goes_on(job: MakeJob) -> None:
    def answer(node: int, number: int, model: np.ndarray) -> RecordDict:
        return failure_content("E203", site=f"ward-{node}") if number == 2 else unit_update(node, number, model)

    events: list[Event] = []
    saved: list[int] = []

    def save(number: int, state: GlobalState, announce: Callable[[str], None]) -> None:
        saved.append(number)
        announce("")

    strategy = Strategy(job(cohort__quorum=2), tell=events.append, save=save)
    result = run(strategy, answering(answer))
    (void,) = kinds(events, "RoundVoided")
    assert (void.round, void.code) == (2, "E501") and len(void.rejected) == 4
    assert saved == [1, 3] and list(result.train_metrics_clientapp) == [1, 3]
    shorter = run(Strategy(job(rounds=2)), answering(unit_update))
    assert vector(result.arrays).tobytes() == vector(shorter.arrays).tobytes()


def test_three_void_rounds_in_a_row_end_the_run_with_the_cause(job: MakeJob) -> None:
    asked: list[int] = []

    def answer(node: int, number: int, model: np.ndarray) -> RecordDict:
        asked.append(number)
        return RecordDict() if number > 1 else unit_update(node, number, model)

    with pytest.raises(Exhausted) as caught:
        run(Strategy(job(rounds=9)), answering(answer))
    assert caught.value.code == "E501" and sorted(set(asked)) == [1, 2, 3, 4]


def test_two_void_rounds_between_good_ones_do_not_add_up(job: MakeJob) -> None:
    def answer(node: int, number: int, model: np.ndarray) -> RecordDict:
        return unit_update(node, number, model) if number % 3 == 0 else RecordDict()

    result = run(Strategy(job(rounds=6)), answering(answer))
    assert list(result.train_metrics_clientapp) == [3, 6]


def test_a_resumed_run_ends_with_the_bytes_of_an_uninterrupted_one(job: MakeJob) -> None:
    agreed = job(rounds=4, server__optimizer="adam")
    states: dict[int, GlobalState] = {}

    def save(number: int, state: GlobalState, announce: Callable[[str], None]) -> None:
        states[number] = state
        announce("")

    def answer(node: int, number: int, model: np.ndarray) -> RecordDict:
        return reply_content(np.float32(0.1 * node) - model, site=f"ward-{node}")

    whole = run(Strategy(agreed, save=save), answering(answer))
    seen: list[int] = []

    def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord | None:
        seen.append(number)
        return None

    resumed = Strategy(agreed, state=states[2], first_round=3)
    rest = run(
        resumed, answering(answer), arrays=record({"w": MODEL["w"] * 0, "b": MODEL["b"] * 0}), evaluate_fn=evaluate
    )
    assert vector(rest.arrays).tobytes() == vector(whole.arrays).tobytes()
    assert seen == [3, 4]


def test_only_the_drawn_cohort_is_asked_and_the_draw_decides(job: MakeJob) -> None:
    def cohorts(seed: int) -> list[list[int]]:
        asked: dict[int, list[int]] = {}

        def answer(node: int, number: int, model: np.ndarray) -> RecordDict:
            asked.setdefault(number, []).append(node)
            return reply_content(np.zeros(SIZE, np.float32), site=f"ward-{node}")

        strategy = Strategy(
            job(cohort__fraction=0.3, cohort__quorum=2, rounds=4),
            draw=lambda number: np.random.default_rng([seed, number]),
        )
        run(strategy, answering(answer), nodes=10)
        return [sorted(nodes) for nodes in asked.values()]

    first = cohorts(1)
    assert all(len(nodes) == 3 for nodes in first) and len({tuple(nodes) for nodes in first}) > 1
    assert cohorts(1) == first != cohorts(2)


@pytest.mark.parametrize(
    ("fraction", "over", "quorum", "size"), [(1.0, 1.0, 1, 10), (0.2, 0.5, 1, 3), (0.1, 0.0, 4, 4), (0.25, 0.0, 1, 3)]
)
def test_the_cohort_s_size(fraction: float, over: float, quorum: int, size: int, job: MakeJob) -> None:
    events: list[Event] = []
    agreed = job(rounds=1, cohort__fraction=fraction, cohort__over_select=over, cohort__quorum=quorum)
    run(Strategy(agreed, tell=events.append), answering(unit_update_of_ten), nodes=10)
    assert kinds(events, "RoundStarted")[0].asked == size
    assert len(kinds(events, "RoundClosed")) == 1


def unit_update_of_ten(node: int, number: int, model: np.ndarray) -> RecordDict:
    return reply_content(np.full(SIZE, node, np.float32), site=f"ward-{node}")


def test_too_few_connected_sites_three_rounds_in_a_row_are_an_error(job: MakeJob) -> None:
    events: list[Event] = []
    agreed = job(rounds=9, cohort__quorum=5, cohort__deadline=0.01)
    with pytest.raises(Exhausted) as caught:
        run(Strategy(agreed, tell=events.append), answering(unit_update), nodes=4)
    assert [event.round for event in kinds(events, "RoundVoided")] == [1, 2, 3]
    assert caught.value.code == "E501" and "4 sites are connected" in caught.value.message


def test_a_round_with_too_few_connected_sites_is_void_and_the_next_one_asks_again(job: MakeJob) -> None:
    """As in a simulation: nobody is asked, the cause is told, and the run goes on when they are back."""
    events: list[Event] = []

    class Leaving(PolicyGrid):
        """Half of the nodes are away in the rounds 1, 3 and 4."""

        def get_node_ids(self) -> list[int]:
            nodes = sorted(self.inner.get_node_ids())
            return nodes[:2] if len(kinds(events, "RoundStarted")) in (0, 2, 3) else nodes

    strategy = Strategy(job(rounds=5, cohort__quorum=4, cohort__deadline=0.01), tell=events.append)
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        strategy.start(Leaving(grid), record(MODEL))

    run_simulation(server, answering(unit_update), 4)
    assert [(event.round, event.code, event.rejected) for event in kinds(events, "RoundVoided")] == [
        (number, "E501", []) for number in (1, 3, 4)
    ]
    assert "2 sites are connected, but the quorum is 4" in kinds(events, "RoundVoided")[0].reason
    assert [event.asked for event in kinds(events, "RoundStarted")] == [0, 4, 0, 0, 4]
    assert [event.round for event in kinds(events, "RoundClosed")] == [2, 5]


def test_a_refusal_does_not_start_the_grace(job: MakeJob) -> None:
    """Two sites that refuse at once must not cut off those that train for longer than the grace."""

    def answer(node: int, number: int, model: np.ndarray) -> RecordDict:
        return failure_content("E201", site=f"ward-{node}") if node <= 2 else unit_update(node, number, model)

    events: list[Event] = []
    run(Strategy(job(rounds=1, cohort__quorum=2, cohort__grace=0.0), tell=events.append), answering(answer))
    assert kinds(events, "RoundClosed")[0].accepted == ("ward-3", "ward-4")


def test_a_grid_that_has_a_policy_already_keeps_it(job: MakeJob) -> None:
    server = ServerApp()
    polled: list[int] = []

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        own = PolicyGrid(grid, quorum=1)
        original = own.gather

        def gather(*arguments: Any, **named: Any) -> list[Message]:
            polled.append(1)
            return original(*arguments, **named)

        own.gather = gather  # type: ignore[method-assign]
        Strategy(job()).start(own, record(MODEL))

    run_simulation(server, answering(unit_update), 4)
    assert len(polled) == 3


def test_sites_metrics_are_weighted_by_their_records(job: MakeJob) -> None:
    def evaluate(node: int) -> MetricRecord:
        answers: dict[int, dict[str, Any]] = {
            1: {"num-examples": 10, "accuracy": 0.5, "loss": 1.0},
            2: {"num-examples": 30, "accuracy": 0.9, "loss": 0.2},
            3: {"num-examples": 10, "accuracy": math.nan},
            4: {"num-examples": 0, "accuracy": 0.0},
            5: {"num-examples": -5, "accuracy": 0.0},
            6: {"num-examples": 2**40, "accuracy": 0.0},
            7: {"accuracy": 0.0},
        }
        return MetricRecord(answers[node])

    events: list[Event] = []
    result = run(
        Strategy(job(rounds=2, evaluate="sites"), tell=events.append),
        answering(
            lambda node, number, model: reply_content(np.zeros(SIZE, np.float32), site=f"ward-{node}"),
            evaluate=evaluate,
        ),
        nodes=7,
    )
    metrics = result.evaluate_metrics_clientapp[2]
    assert metrics["accuracy"] == pytest.approx(0.8) and metrics["loss"] == pytest.approx(0.4)
    (_, event) = kinds(events, "Evaluated")
    assert (event.where, event.records) == ("sites", 40) and list(event.metrics) == ["accuracy", "loss"]
    assert event.low < 0.8 < event.high


def test_a_metric_that_only_some_sites_have_is_averaged_over_them(job: MakeJob) -> None:
    def evaluate(node: int) -> MetricRecord:
        more: dict[str, Any] = {"auc": 0.75} if node == 1 else {}
        return MetricRecord({"num-examples": 10, "accuracy": 0.5, **more})

    result = run(Strategy(job(rounds=1, evaluate="sites")), answering(unit_update, evaluate=evaluate))
    assert result.evaluate_metrics_clientapp[1]["auc"] == 0.75


def test_one_site_s_measurement_neither_outweighs_the_others_nor_takes_their_place(job: MakeJob) -> None:
    def evaluate(node: int) -> MetricRecord:
        hostile: dict[str, Any] = {"num-examples": 2**31, "accuracy": 0.0, "a": 1.0, "\x1b[2J": 1.0, "x" * 65: 1.0}
        return MetricRecord(hostile if node == 1 else {"num-examples": 10, "accuracy": 0.8, "loss": 0.1})

    result = run(Strategy(job(rounds=1, evaluate="sites")), answering(unit_update, evaluate=evaluate))
    metrics = result.evaluate_metrics_clientapp[1]
    assert list(metrics) == ["accuracy", "a", "loss"] and metrics["accuracy"] == pytest.approx(0.4)


def test_sites_are_not_asked_to_evaluate_unless_the_job_says_so(job: MakeJob) -> None:
    def evaluate(node: int) -> MetricRecord:
        raise AssertionError("nobody asked for this")

    assert run(Strategy(job()), answering(unit_update, evaluate=evaluate)).evaluate_metrics_clientapp == {}


def test_the_server_evaluates_before_the_first_round_and_after_each(job: MakeJob) -> None:
    def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord:
        return MetricRecord({"sum": float(vector(arrays).sum())})

    result = run(Strategy(job(rounds=2)), answering(unit_update), evaluate_fn=evaluate)
    sums = {number: metrics["sum"] for number, metrics in result.evaluate_metrics_serverapp.items()}
    assert sums == pytest.approx({0: 17.0, 1: 18.0, 2: 19.0})


def test_a_request_says_which_job_it_is_for_and_carries_the_caller_s_words(job: MakeJob) -> None:
    agreed, seen = job(rounds=1), list[ConfigRecord]()
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        seen.append(message.content.config_records["config"])
        return Message(unit_update(context.node_id, 1, np.empty(0)), reply_to=message)

    run(Strategy(agreed, run="r7"), app, train_config=ConfigRecord({"lr": 0.5, "job": "forged"}))
    assert seen[0]["job"] == agreed.digest() and (seen[0]["run"], seen[0]["lr"], seen[0]["rounds"]) == ("r7", 0.5, 1)


def test_closing_a_round_before_the_start_is_a_programming_error(job: MakeJob) -> None:
    with pytest.raises(RuntimeError, match="before start"):
        Strategy(job()).aggregate_train(1, [])


def test_every_hedgerow_error_is_named_by_a_code() -> None:
    assert issubclass(Exhausted, HedgerowError)
    assert Layout(names=("w", "b"), shapes=((2, 3), (2,))).size == SIZE
