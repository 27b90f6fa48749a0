"""A round's close: what one bad site can do to the model (nothing), and when a round releases nothing."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import minimum_rows
from hedgerow.job import Aggregate, Job, Privacy, Secure
from hedgerow.server.admission import Rejection, admit, admit_rows
from hedgerow.server.optimizer import first_state
from hedgerow.server.round import GlobalState, VoidRound, close_admitted, close_round
from hedgerow.update import Vector
from hedgerow.wire import Failure, Reply

MakeReply = Callable[..., Reply]
MakeJob = Callable[..., Job]

SIZE = 12
ROBUST: dict[str, object] = {
    "aggregate__rule": "trimmed-mean",
    "aggregate__byzantine": 1,
    "aggregate__before": "clip+nnm",
}
JOBS: list[dict[str, object]] = [
    {},
    ROBUST,
    {"aggregate__rule": "krum", "aggregate__byzantine": 1},
    {"aggregate__rule": "geometric-median", "aggregate__byzantine": 1, "server__optimizer": "adam"},
    {"aggregate__weights": "examples", "server__optimizer": "avgm"},
]
BAD: list[np.ndarray | None] = [
    np.full(SIZE, np.nan, np.float32),
    np.full(SIZE, -np.inf, np.float32),
    np.full(SIZE, 3e38, np.float32),
    np.zeros(SIZE + 1, np.float32),
    np.zeros((1, SIZE), np.float32),
    np.zeros(SIZE, np.float64),
    None,
]


def start(job: Job) -> GlobalState:
    return GlobalState(model=np.ones(SIZE, np.float32), memory=first_state(job.server, SIZE), declared={})


def honest(reply: MakeReply, count: int = 6) -> list[Reply]:
    rng = np.random.default_rng(3)
    return [reply(n, rng.standard_normal(SIZE).astype(np.float32), examples=10 * n) for n in range(1, count + 1)]


def vector_of(answer: Reply) -> Vector:
    assert answer.update is not None
    return answer.update


def asked(count: int) -> dict[int, str]:
    return {n: f"site-{n}" for n in range(1, count + 1)}


@pytest.mark.parametrize("changes", JOBS)
@pytest.mark.parametrize("bad", range(len(BAD)))
def test_a_bad_site_leaves_the_same_bytes_as_if_it_had_not_been_there(
    reply: MakeReply, job: MakeJob, changes: dict[str, object], bad: int
) -> None:
    agreed = job(**changes)
    good = honest(reply)
    without = close_round(agreed, start(agreed), good, asked=asked(6))
    poisoned = reply(0, BAD[bad], site="aaa", failure=None if BAD[bad] is not None else Failure("E308", "constant"))
    closed = close_round(agreed, start(agreed), [poisoned, *good], asked={0: "aaa", **asked(6)})
    assert closed.state.model.tobytes() == without.state.model.tobytes()
    assert {name: value.tobytes() for name, value in closed.state.memory.items()} == {
        name: value.tobytes() for name, value in without.state.memory.items()
    }
    assert closed.state.declared == without.state.declared
    assert closed.rejections[0].site == "aaa"


@pytest.mark.parametrize("changes", JOBS)
def test_the_order_of_arrival_never_changes_the_bytes(
    reply: MakeReply, job: MakeJob, changes: dict[str, object]
) -> None:
    agreed = job(**changes)
    replies = honest(reply, 5)
    orders = itertools.islice(itertools.permutations(replies), 0, 120, 13)
    models = {close_round(agreed, start(agreed), order, asked=asked(5)).state.model.tobytes() for order in orders}
    assert len(models) == 1


def test_the_mean_with_rate_one_adds_the_mean_update(reply: MakeReply, job: MakeJob) -> None:
    replies = honest(reply)
    closed = close_round(job(), start(job()), replies, asked=asked(6))
    expected = 1 + np.mean([vector_of(answer).astype(np.float64) for answer in replies], axis=0)
    np.testing.assert_allclose(closed.state.model, expected, rtol=1e-6)
    assert closed.accepted == tuple(f"site-{n}" for n in range(1, 7)) and closed.rejections == ()
    assert closed.step_norm == pytest.approx(np.linalg.norm(expected - 1), rel=1e-5)
    for answer in replies:
        assert closed.norms[answer.site] == pytest.approx(np.linalg.norm(vector_of(answer)), rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(sent=st.lists(st.sampled_from(["send", "repeat", "drop", "bad"]), min_size=8, max_size=8))
def test_the_released_sum_holds_every_survivor_once(sent: list[str]) -> None:
    agreed = Job(
        privacy=Privacy(unit="none"),
        secure=Secure(mode="off"),
        aggregate=Aggregate(rule="mean", byzantine=0, before="none"),
    ).override({"cohort.quorum": 1})
    unit = np.eye(SIZE, dtype=np.float32)
    replies = []
    for place, what in enumerate(sent):
        row = np.full(SIZE, np.inf, np.float32) if what == "bad" else unit[place]
        one = Reply(sender=place, site=f"s{place}", update=row)
        replies += [one] * {"send": 1, "repeat": 3, "drop": 0, "bad": 1}[what]
    survivors = [what in ("send", "repeat") for what in sent]
    state = start(agreed)
    if not any(survivors):
        with pytest.raises(VoidRound):
            close_round(agreed, state, replies, asked={n: f"s{n}" for n in range(8)})
        return
    closed = close_round(agreed, state, replies, asked={n: f"s{n}" for n in range(8)})
    released = (closed.state.model - state.model) * sum(survivors)
    np.testing.assert_allclose(released[:8], np.array(survivors, np.float64), atol=1e-5)


def test_too_few_usable_updates_release_nothing(reply: MakeReply, job: MakeJob) -> None:
    agreed = job(cohort__quorum=3)
    state = start(agreed)
    before = state.model.tobytes()
    with pytest.raises(VoidRound) as caught:
        close_round(agreed, state, honest(reply, 2), asked=asked(4))
    assert caught.value.cause.code == "E501" and "quorum is 3" in caught.value.cause.message
    assert [rejection.site for rejection in caught.value.rejections] == ["site-3", "site-4"]
    assert state.model.tobytes() == before and state.declared == {}


def test_fewer_updates_than_the_rule_needs_release_nothing(reply: MakeReply, job: MakeJob) -> None:
    agreed = job(**ROBUST, cohort__quorum=2)
    with pytest.raises(VoidRound) as caught:
        close_round(agreed, start(agreed), honest(reply, 2), asked=asked(2))
    assert caught.value.cause.code == "E501" and "rule needs 3" in caught.value.cause.message


@pytest.mark.parametrize("optimizer", ["avg", "avgm", "adagrad", "adam", "yogi"])
def test_a_step_beyond_float32_releases_nothing(reply: MakeReply, job: MakeJob, optimizer: str) -> None:
    """Finite updates can still overflow the model or the optimiser's memory; that must not be saved."""
    agreed = job(server__optimizer=optimizer, server__lr=10.0)
    large = np.zeros(SIZE, np.float32)
    large[0] = 3e38
    state = start(agreed)
    with pytest.raises(VoidRound) as caught:
        close_round(agreed, state, [reply(1, large), reply(2, large)], asked=asked(2))
    assert caught.value.cause.code == "E502" and np.array_equal(state.model, np.ones(SIZE))


def test_an_excluded_site_is_named_with_the_rule_s_reason(reply: MakeReply, job: MakeJob) -> None:
    agreed = job(aggregate__rule="krum", aggregate__byzantine=1)
    replies = [*honest(reply, 5), reply(6, np.full(SIZE, 1e6, np.float32))]
    closed = close_round(agreed, start(agreed), replies, asked=asked(6))
    excluded = {rejection.site: rejection for rejection in closed.rejections}
    assert excluded["site-6"].code == "E310" and "site-6" not in closed.accepted
    assert np.linalg.norm(closed.state.model) < 100


@pytest.mark.parametrize("rule", ["trimmed-mean", "median", "krum", "multi-krum"])
def test_sites_that_claim_to_be_large_outvote_no_rule(reply: MakeReply, job: MakeJob, rule: str) -> None:
    the_job = job(aggregate__rule=rule, aggregate__byzantine=2, aggregate__weights="examples")
    rng = np.random.default_rng(0)
    good = [reply(n, rng.standard_normal(SIZE).astype(np.float32), examples=10) for n in range(1, 8)]
    bad = [reply(n, np.full(SIZE, 1e6, np.float32), examples=10**9) for n in (8, 9)]
    closed = close_round(the_job, start(the_job), [*good, *bad], asked=asked(9))
    rows = np.stack([vector_of(answer) for answer in good])
    moved = closed.state.model - 1.0
    assert (moved >= rows.min(axis=0) - 1e-5).all() and (moved <= rows.max(axis=0) + 1e-5).all()


@pytest.mark.parametrize("rule", ["trimmed-mean", "median", "krum", "multi-krum"])
@pytest.mark.parametrize("before", ["reject+arc+nnm", "bucketing", "reject+bucketing"])
@pytest.mark.parametrize("f", [1, 2, 3])
def test_hostile_sites_that_get_themselves_rejected_void_no_round(
    reply: MakeReply, job: MakeJob, f: int, before: str, rule: str
) -> None:
    """What is left, or the group that it is in, must not be too heavy for the rule, however uneven the sites are."""
    the_job = job(
        aggregate__rule=rule,
        aggregate__byzantine=f,
        aggregate__before=before,
        aggregate__weights="examples",
    )
    rng = np.random.default_rng(f)
    fewest = minimum_rows(rule, f, before)
    for n in range(fewest, fewest + f + 5):
        sizes = np.sort(10 ** rng.uniform(1, 4, n)).astype(int).tolist()
        replies = [reply(k, rng.standard_normal(SIZE).astype(np.float32), examples=sizes[k]) for k in range(n)]
        for first in (0, (n - f) // 2, n - f):  # the lightest, the middle ones, the heaviest
            boosted = [
                replace(answer, update=50 * vector_of(answer)) if first <= k < first + f else answer
                for k, answer in enumerate(replies)
            ]
            closed = close_round(the_job, start(the_job), boosted, asked={k: f"site-{k}" for k in range(n)}, rng=rng)
            assert np.abs(closed.state.model - 1).max() < 10


@pytest.mark.parametrize(("byzantine", "told"), [(1, True), (3, False), (0, False)])
def test_more_that_look_hostile_than_expected_are_named(
    reply: MakeReply, job: MakeJob, byzantine: int, told: bool
) -> None:
    the_job = job(aggregate__rule="trimmed-mean", aggregate__byzantine=byzantine)
    flipped = [reply(n, -4 * vector_of(answer)) for n, answer in enumerate(honest(reply, 12)[:3], 21)]
    far = [replace(answer, update=vector_of(answer) + np.float32(30)) for answer in flipped]
    closed = close_round(the_job, start(the_job), [*honest(reply, 12), *far], asked=asked(30))
    assert set(closed.suspects) == ({"site-21", "site-22", "site-23"} if told else set())


def test_a_rule_remembers_from_round_to_round(reply: MakeReply, job: MakeJob) -> None:
    the_job = job(aggregate__rule="foolsgold", aggregate__byzantine=1)
    first = close_round(the_job, start(the_job), honest(reply), asked=asked(6))
    assert first.state.rule
    again = close_round(the_job, first.state, honest(reply), asked=asked(6))
    forgetful = close_round(the_job, replace(first.state, rule={}), honest(reply), asked=asked(6))
    assert {name: value.tobytes() for name, value in again.state.rule.items()} != {
        name: value.tobytes() for name, value in forgetful.state.rule.items()
    }


def test_declared_counts_weigh_and_are_capped_at_three_medians(reply: MakeReply, job: MakeJob) -> None:
    agreed = job(aggregate__weights="examples")
    rows = np.eye(SIZE, dtype=np.float32)[:4]
    replies = [reply(n + 1, rows[n], examples=count) for n, count in enumerate((10, 20, 20, 10**9))]
    closed = close_round(agreed, start(agreed), replies, asked=asked(4))
    shares = np.array([10, 20, 20, 60]) / 110
    np.testing.assert_allclose((closed.state.model - 1)[:4], shares, rtol=1e-5)
    assert closed.weights["site-4"] == pytest.approx(60 / 110)


def test_a_count_is_believed_once(reply: MakeReply, job: MakeJob) -> None:
    """A site that later claims a thousand million records gains nothing."""
    agreed = job(aggregate__weights="examples")
    rows = np.eye(SIZE, dtype=np.float32)[:3]
    first = close_round(agreed, start(agreed), [reply(n + 1, rows[n], examples=20) for n in range(3)], asked=asked(3))
    claims = {1: 20, 2: 20, 3: 10**9}
    honest_claim = close_round(
        agreed, first.state, [reply(n + 1, rows[n], examples=20) for n in range(3)], asked=asked(3)
    )
    greedy = close_round(
        agreed, first.state, [reply(n + 1, rows[n], examples=claims[n + 1]) for n in range(3)], asked=asked(3)
    )
    assert greedy.state.model.tobytes() == honest_claim.state.model.tobytes()
    assert greedy.state.declared == {"site-1": 20, "site-2": 20, "site-3": 20}


def test_without_weights_a_claim_weighs_nothing(reply: MakeReply, job: MakeJob) -> None:
    rows = np.eye(SIZE, dtype=np.float32)[:2]
    modest = close_round(job(), start(job()), [reply(1, rows[0]), reply(2, rows[1])], asked=asked(2))
    greedy = close_round(
        job(), start(job()), [reply(1, rows[0], examples=1), reply(2, rows[1], examples=2**31)], asked=asked(2)
    )
    assert greedy.state.model.tobytes() == modest.state.model.tobytes()


@pytest.mark.parametrize("changes", JOBS)
def test_rows_close_a_round_to_the_same_bytes_as_messages_do(
    reply: MakeReply, job: MakeJob, changes: dict[str, object]
) -> None:
    """One row is not finite, one site is silent."""
    answers = [*honest(reply), reply(7, np.full(SIZE, np.nan, np.float32))]
    the_job = job(**changes)
    expected = close_round(the_job, start(the_job), answers, asked=asked(8))
    rows = np.stack([vector_of(answer) for answer in answers])
    silent = [Rejection(site="site-8", code="E309", reason="no answer before the deadline")]
    admitted = admit_rows(rows, answers, silent)
    closed = close_admitted(the_job, start(the_job), admitted, admitting=0.25)
    assert closed.state.model.tobytes() == expected.state.model.tobytes()
    assert {name: memory.tobytes() for name, memory in closed.state.memory.items()} == {
        name: memory.tobytes() for name, memory in expected.state.memory.items()
    }
    assert closed.state.declared == expected.state.declared
    assert (closed.accepted, closed.norms, closed.weights) == (expected.accepted, expected.norms, expected.weights)
    assert sorted(closed.rejections, key=str) == sorted(expected.rejections, key=str)
    assert closed.seconds["admit"] == 0.25


def test_admitted_rows_below_the_quorum_release_nothing(reply: MakeReply, job: MakeJob) -> None:
    the_job = job(cohort__quorum=3)
    with pytest.raises(VoidRound) as caught:
        close_admitted(the_job, start(the_job), admit(honest(reply, 2), asked=asked(3), size=SIZE))
    assert caught.value.cause.code == "E501"
    assert [rejection.code for rejection in caught.value.rejections] == ["E309"]
