"""What a round does to a run: the state moves on only when it is saved, and three empty rounds end it."""

from collections.abc import Callable

import numpy as np
import pytest

from hedgerow.errors import Exhausted, Misconfigured
from hedgerow.events import Event, RoundClosed, RoundStarted, RoundVoided
from hedgerow.job import Job
from hedgerow.server.coordinator import VOID_LIMIT, Coordinator
from hedgerow.server.round import Closed, GlobalState, close_round
from hedgerow.wire import Failure, Reply

MakeReply = Callable[..., Reply]
MakeJob = Callable[..., Job]

ASKED = {1: "site-1", 2: "site-2"}


class Scene:
    """A coordinator between what it tells and what it saves."""

    def __init__(self, job: Job, *, fails: bool = False, simulated: bool = False) -> None:
        self.order: list[str] = []
        self.told: list[Event] = []
        self.saved: list[tuple[int, GlobalState]] = []
        self.fails = fails
        first = GlobalState(model=np.zeros(2, np.float32), memory={}, declared={})
        self.coordinator = Coordinator(job, tell=self.tell, save=self.save, state=first, simulated=simulated)

    def tell(self, event: Event) -> None:
        self.order.append(type(event).__name__)
        self.told.append(event)

    def save(self, number: int, state: GlobalState, announce: Callable[[str], None]) -> None:
        self.order.append("written")
        announce(f"hash-{number}")
        if self.fails:
            raise OSError("full")
        self.order.append("saved")
        self.saved.append((number, state))

    def close(self, number: int, replies: list[Reply], *, clock: float | None = None) -> Closed | None:
        job = self.coordinator.job
        return self.coordinator.close(
            number,
            lambda state: close_round(job, state, replies, asked=ASKED),
            train=1.5,
            bytes_down=10,
            bytes_up=20,
            clock=clock,
        )


def test_a_round_is_written_then_told_then_counts(reply: MakeReply, job: MakeJob) -> None:
    scene = Scene(job())
    scene.coordinator.open(1, asked=2)
    closed = scene.close(1, [reply(1, (2, 4)), reply(2, (4, 8))], clock=7.5)
    assert closed is not None and closed.state.model.tolist() == [3, 6]
    assert scene.order == ["RoundStarted", "written", "RoundClosed", "saved"]
    assert scene.coordinator.state is closed.state is scene.saved[0][1]
    started, told = scene.told
    assert started == RoundStarted(round=1, rounds=3, asked=2)
    assert isinstance(told, RoundClosed)
    assert (told.model_sha256, told.clock, told.bytes_down, told.bytes_up) == ("hash-1", 7.5, 10, 20)
    assert set(told.seconds) == {"train", "admit", "aggregate", "step"} and told.seconds["train"] == 1.5


def test_a_save_that_fails_moves_nothing(reply: MakeReply, job: MakeJob) -> None:
    scene = Scene(job(), fails=True)
    before = scene.coordinator.state
    with pytest.raises(OSError, match="full"):
        scene.close(1, [reply(1), reply(2)])
    assert scene.coordinator.state is before


def test_a_void_round_changes_and_saves_nothing_and_says_why(reply: MakeReply, job: MakeJob) -> None:
    scene = Scene(job(cohort__quorum=2))
    before = scene.coordinator.state
    assert scene.close(1, [reply(1)], clock=3.0) is None
    assert scene.coordinator.state is before and scene.saved == []
    (told,) = scene.told
    assert isinstance(told, RoundVoided)
    assert (told.round, told.code, told.clock) == (1, "E501", 3.0)
    assert [(entry["site"], entry["code"]) for entry in told.rejected] == [("site-2", "E309")]


def test_three_void_rounds_in_a_row_end_the_run_and_one_that_closes_starts_the_count_again(
    reply: MakeReply, job: MakeJob
) -> None:
    scene = Scene(job(cohort__quorum=2))
    full, empty = [reply(1), reply(2)], [reply(1)]
    for number in range(1, VOID_LIMIT):
        assert scene.close(number, empty) is None
    assert scene.close(VOID_LIMIT, full) is not None
    for number in range(1, VOID_LIMIT):
        assert scene.close(VOID_LIMIT + number, empty) is None
    with pytest.raises(Exhausted) as caught:
        scene.close(2 * VOID_LIMIT, empty)
    assert caught.value.code == "E501" and "3 rounds in a row" in caught.value.message
    assert isinstance(scene.told[-1], RoundVoided)


def test_an_error_of_another_kind_passes_through_and_is_not_a_void_round(job: MakeJob) -> None:
    scene = Scene(job())

    def broken(state: GlobalState) -> Closed:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        scene.coordinator.close(1, broken, train=0.0, bytes_down=0, bytes_up=0)
    assert scene.told == []


def test_there_is_no_round_before_there_is_a_model(job: MakeJob) -> None:
    coordinator = Coordinator(job(), tell=lambda event: None, save=lambda *_: None, state=None)
    with pytest.raises(RuntimeError, match="before there was a model"):
        coordinator.close(1, lambda state: pytest.fail("stepped"), train=0.0, bytes_down=0, bytes_up=0)


def absent() -> Exhausted:
    return Exhausted("E501", "1 site is connected", hint="start more sites")


def test_a_round_that_can_ask_nobody_is_void_and_counts_as_one(reply: MakeReply, job: MakeJob) -> None:
    scene = Scene(job(rounds=9, cohort__quorum=2))
    before = scene.coordinator.state
    scene.coordinator.void(1, absent(), clock=600.0)
    assert scene.coordinator.state is before and scene.saved == []
    assert scene.told[0] == RoundStarted(round=1, rounds=9, asked=0)
    assert scene.told[1:] == [RoundVoided(round=1, code="E501", reason="1 site is connected", rejected=[], clock=600.0)]
    assert scene.close(2, [reply(1)]) is None
    with pytest.raises(Exhausted) as caught:
        scene.coordinator.void(3, absent())
    assert (caught.value.code, caught.value.hint) == ("E501", "start more sites")
    assert caught.value.message == "3 rounds in a row released nothing; the last one: 1 site is connected"


@pytest.mark.parametrize(("rounds", "words"), [(1, "the only round released nothing: "), (2, "2 rounds in a row ")])
def test_a_run_of_which_every_round_is_void_does_not_end_well(rounds: int, words: str, job: MakeJob) -> None:
    scene = Scene(job(rounds=rounds))
    for number in range(1, rounds):
        scene.coordinator.void(number, absent())
    with pytest.raises(Exhausted) as caught:
        scene.coordinator.void(rounds, absent())
    assert caught.value.message.startswith(words) and caught.value.message.endswith("1 site is connected")


@pytest.mark.parametrize("quorum", [1, 2])
def test_a_simulated_site_that_finds_a_model_to_mix_records_ends_the_run(
    quorum: int, reply: MakeReply, job: MakeJob
) -> None:
    scene = Scene(job(cohort__quorum=quorum), simulated=True)
    before = scene.coordinator.state
    with pytest.raises(Misconfigured) as caught:
        scene.close(1, [reply(1), reply(2, failure=Failure("E130", "whatever it says"))])
    assert caught.value.code == "E130" and "round 1 on the records of site-2" in caught.value.message
    assert scene.coordinator.state is before and scene.saved == []


def test_a_real_site_cannot_end_a_run_by_saying_so(reply: MakeReply, job: MakeJob) -> None:
    scene = Scene(job(cohort__quorum=1))
    closed = scene.close(1, [reply(1), reply(2, failure=Failure("E130", "whatever it says"))])
    assert closed is not None
    assert [(rejection.site, rejection.code) for rejection in closed.rejections] == [("site-2", "E130")]
