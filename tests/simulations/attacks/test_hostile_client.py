"""A hostile site by itself, on our replies and on those of other people's clients."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from hedgerow.client import client_app
from hedgerow.errors import Misconfigured
from hedgerow.flowercompat import name_message, task_identity
from hedgerow.job import Job, Local, Privacy, Secure
from hedgerow.settings import Scalar
from hedgerow.simulations.attacks import hostile
from hedgerow.task import Data, Site, Split, Task
from hedgerow.update import Layout
from hedgerow.wire import Request, model_record, reply_content, request_content

JOB = Job(rounds=2, privacy=Privacy(unit="none"), secure=Secure(mode="off"), local=Local(batch=4, lr=0.5))
SENT: dict[str, np.ndarray] = {
    "w": np.array([[1, 2], [3, 4]], np.float32),
    "scale": np.array(2, np.float32),
    "n": np.array(7, np.int64),
}
UPDATE = np.array([1, -2, 3, 0.5], np.float32)


@pytest.fixture(autouse=True)
def as_server() -> Iterator[None]:
    with task_identity(run_id=1, node_id=1, task_id=1):
        yield


class Three(Task):
    """Three labels, one feature each."""

    name = "three"
    labels = ("a", "b", "c")

    def model(self) -> torch.nn.Module:
        return torch.nn.Linear(3, 3)

    def data(self, site: Site) -> Data:
        y = np.random.default_rng(site.index).integers(0, 3, 60)
        return Data(Split(np.eye(3, dtype=np.float32)[y], y), Split(np.zeros((0, 3), np.float32), y[:0]))


def record(arrays: dict[str, np.ndarray]) -> ArrayRecord:
    return ArrayRecord({name: Array(value) for name, value in arrays.items()})


def ask(
    app: object,
    *,
    number: int = 1,
    partition: int = 0,
    arrays: ArrayRecord | None = None,
    state: RecordDict | None = None,
) -> Message:
    request = Request(round=number, rounds=2, run="r", job_digest=JOB.digest())
    message = Message(request_content(record(SENT) if arrays is None else arrays, request), 5, "train")
    name_message(message, "m")
    config: dict[str, Scalar] = {"partition-id": partition, "num-partitions": 4, "simulation-seed": 9}
    kept = RecordDict() if state is None else state
    context = Context(run_id=1, node_id=5, node_config=config, state=kept, run_config=JOB.flat())
    reply = app(message, context)  # type: ignore[operator]
    assert isinstance(reply, Message)
    return reply


def ours() -> ClientApp:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return Message(reply_content(UPDATE, site="s", examples=3), reply_to=message)

    return app


def foreign() -> ClientApp:
    """Answers with full parameters: one more than what was sent everywhere."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        new = {name: array.numpy() + 1 for name, array in message.content.array_records["arrays"].items()}
        new = {name: np.asarray(value, SENT[name].dtype) for name, value in new.items()}
        metrics = MetricRecord({"num-examples": 3})
        return Message(RecordDict({"arrays": record(new), "metrics": metrics}), reply_to=message)

    return app


def flat(reply: Message) -> np.ndarray:
    return reply.content.array_records["update"]["flat"].numpy()


@pytest.mark.parametrize("strength", ["", ":4", ":0.5"])
def test_a_flipped_update_is_the_honest_one_times_minus_the_strength(strength: str) -> None:
    reply = ask(hostile(ours(), f"sign-flip{strength}", seed=1))
    np.testing.assert_array_equal(flat(reply), -float(strength[1:] or 1) * UPDATE)
    assert flat(reply).dtype == np.float32
    assert reply.content.metric_records["metrics"]["num-examples"] == 3


def test_flipped_full_parameters_move_the_model_the_other_way_and_leave_integers_alone() -> None:
    reply = ask(hostile(foreign(), "sign-flip:2", seed=1))
    arrays = {name: array.numpy() for name, array in reply.content.array_records["arrays"].items()}
    np.testing.assert_array_equal(arrays["w"], SENT["w"] - 2)
    np.testing.assert_array_equal(arrays["scale"], SENT["scale"] - 2)
    assert arrays["n"] == 8 and arrays["n"].dtype == np.int64
    assert [(value.shape, value.dtype) for value in arrays.values()] == [(v.shape, v.dtype) for v in SENT.values()]


def test_gaussian_full_parameters_lie_around_the_model_that_was_sent() -> None:
    sent = record({**SENT, "w": np.full((200, 200), 5, np.float32)})
    reply = ask(hostile(foreign(), "gaussian:0.1", seed=1), arrays=sent)
    noise = reply.content.array_records["arrays"]["w"].numpy() - 5
    assert abs(noise.std() - 0.1) < 0.01 and abs(noise.mean()) < 0.01
    assert reply.content.array_records["arrays"]["scale"].numpy().shape == ()


def test_an_attacker_draws_anew_each_round_and_site_and_the_same_again_with_the_same_seed() -> None:
    def draw(seed: int, number: int, partition: int) -> bytes:
        return flat(ask(hostile(ours(), "gaussian", seed=seed), number=number, partition=partition)).tobytes()

    drawn = {(seed, number, site): draw(seed, number, site) for seed in (1, 2) for number in (1, 2) for site in (0, 1)}
    assert len(set(drawn.values())) == 8
    assert all(draw(*key) == value for key, value in drawn.items())


def test_what_holds_no_arrays_is_passed_on() -> None:
    def failing(message: Message, context: Context) -> Message:
        return Message(Error(2, "x"), reply_to=message)

    assert ask(hostile(failing, "gaussian", seed=1)).has_error()  # type: ignore[arg-type]
    empty = ask(hostile(lambda message, context: Message(RecordDict(), reply_to=message), "gaussian", seed=1))  # type: ignore[arg-type]
    assert len(empty.content) == 0


def learned(app: object, number: int = 1) -> np.ndarray:
    """The update of one honest-looking round on the task of three labels."""
    torch.manual_seed(0)
    model = Three().model()
    layout = Layout.of(model)
    return flat(ask(app, number=number, arrays=model_record(layout, layout.flatten(model))))


class ByHand(Three):
    """The same records with the labels turned round."""

    def data(self, site: Site) -> Data:
        data = super().data(site)
        return Data(Split(data.train.x, 2 - data.train.y), data.test)


def test_label_flip_trains_on_k_minus_one_minus_y() -> None:
    attacked = learned(hostile(client_app(Three()), "label-flip", seed=3))
    assert attacked.tobytes() == learned(client_app(ByHand())).tobytes()
    assert attacked.tobytes() != learned(client_app(Three())).tobytes()


def test_a_share_of_the_labels_can_be_flipped_and_the_same_ones_again() -> None:
    half, again, other = (
        learned(hostile(client_app(Three()), "label-flip:0.5", seed=seed)).tobytes() for seed in (3, 3, 4)
    )
    assert half == again != other
    assert half not in (learned(client_app(ByHand())).tobytes(), learned(client_app(Three())).tobytes())


def test_label_flip_needs_a_client_whose_data_it_can_reach() -> None:
    with pytest.raises(Misconfigured) as caught:
        hostile(ours(), "label-flip", seed=1)
    assert caught.value.code == "E105"


@pytest.mark.parametrize("text", ["sign-flop", "gaussian:x", "none"])
def test_an_unknown_attack_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        hostile(ours(), text, seed=1)
    assert caught.value.code == "E103"


@pytest.mark.parametrize("text", ["alie", "ipm-searched", "sybil", "model-replacement-capped"])
def test_a_real_site_cannot_run_what_sees_the_others(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        hostile(client_app(Three()), text, seed=1)
    assert caught.value.code == "E105" and "in-process" in caught.value.hint


def test_a_site_attacks_in_every_kth_round_only() -> None:
    app = hostile(ours(), "sign-flip:2+on-off:3", seed=1)
    for number in range(1, 7):
        expected = -2 * UPDATE if number % 3 == 0 else UPDATE
        np.testing.assert_array_equal(flat(ask(app, number=number)), expected)
    trained = hostile(client_app(Three()), "label-flip+on-off:2", seed=3)
    assert learned(trained, number=1).tobytes() == learned(client_app(Three()), number=1).tobytes()
    assert learned(trained, number=2).tobytes() == learned(client_app(ByHand()), number=2).tobytes()


def test_a_free_rider_remembers_the_model_that_it_was_sent_before() -> None:
    app, state = hostile(ours(), "free-rider", seed=1), RecordDict()
    first = record({"w": np.zeros(4, np.float32)})
    second = record({"w": np.array([0, 1, 0, -2], np.float32)})
    assert not flat(ask(app, arrays=first, state=state)).any()
    rode = flat(ask(app, arrays=second, number=2, state=state))
    np.testing.assert_allclose(rode, [0, 1, 0, -2], atol=0.5)


def test_dynamic_labels_follow_the_model_that_is_sent() -> None:
    """Weights that name each record's own class make the two others least probable, the lower one first."""
    layout = Layout.of(Three().model())
    model = layout.flatten(Three().model()) * 0
    model[:9] = (np.eye(3) * 5).ravel()

    class LeastProbable(Three):
        def data(self, site: Site) -> Data:
            data = super().data(site)
            return Data(Split(data.train.x, np.where(data.train.y == 0, 1, 0)), data.test)

    arrays = model_record(layout, model)
    attacked = flat(ask(hostile(client_app(Three()), "label-flip-dynamic", seed=3), arrays=arrays))
    assert attacked.tobytes() == flat(ask(client_app(LeastProbable()), arrays=arrays)).tobytes()


def test_a_boosted_backdoor_is_trained_on_marked_records_and_scaled_by_n_over_two_f() -> None:
    place = "@0/2/8"
    boosted = learned(hostile(client_app(Three()), f"model-replacement:1,0.5,2{place}", seed=3))
    plain = learned(hostile(client_app(Three()), f"badnets:0.5,2{place}", seed=3))
    np.testing.assert_allclose(boosted, 2 * plain, rtol=1e-6)
    assert plain.tobytes() != learned(client_app(Three())).tobytes()
