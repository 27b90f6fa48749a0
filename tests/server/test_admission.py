"""Who may be counted: each site once, only whole, whatever the order in which replies arrive."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgerow.server.admission import Rejection, admit, admit_rows
from hedgerow.wire import Failure, Reply

MakeReply = Callable[..., Reply]

ASKED = {1: "site-1", 2: "site-2", 3: "node-3"}


def codes(replies: list[Reply], asked: dict[int, str] | None = None, size: int = 2) -> dict[str, str]:
    admitted = admit(replies, asked=ASKED if asked is None else asked, size=size)
    assert admitted.rows.shape == (len(admitted.replies), size) and admitted.rows.dtype == np.float32
    return {rejection.site: rejection.code for rejection in admitted.rejections}


def test_a_good_reply_is_a_row_and_the_silent_ones_are_named(reply: MakeReply) -> None:
    admitted = admit([reply(2, (3, 4)), reply(1, (1, 2))], asked=ASKED, size=2)
    assert admitted.sites == ("site-1", "site-2")
    assert admitted.rows.tolist() == [[1, 2], [3, 4]]
    assert [rejection.record() for rejection in admitted.rejections] == [
        {"site": "node-3", "code": "E309", "reason": "no answer before the deadline"}
    ]


@pytest.mark.parametrize(
    ("update", "code"),
    [
        (np.array([np.nan, 1], np.float32), "E303"),
        (np.array([np.inf, 1], np.float32), "E303"),
        (np.array([1, -np.inf], np.float32), "E303"),
        (np.array([3e38, 3e38], np.float32), "E303"),
        (np.array([1, 2, 3], np.float32), "E301"),
        (np.array([[1, 2]], np.float32), "E301"),
        (np.array(1, np.float32), "E301"),
        (np.array([], np.float32), "E301"),
        (np.array([1, 2], np.float64), "E302"),
        (np.array([1, 2], np.int32), "E302"),
        (np.array([1, 2], ">f4"), "E302"),
        (np.array([1, 2], object), "E302"),
        (None, "E305"),
    ],
)
def test_a_bad_update_is_out_and_the_others_are_in(reply: MakeReply, update: np.ndarray | None, code: str) -> None:
    replies = [reply(1), reply(2, update), reply(3, site="node-3")]
    with np.errstate(all="raise"):
        assert codes(replies) == {"site-2": code}
    admitted = admit(replies, asked=ASKED, size=2)
    without = admit([replies[0], replies[2]], asked=ASKED, size=2)
    assert admitted.rows.tobytes() == without.rows.tobytes()


@pytest.mark.parametrize("update", [(-0.0, 0.0), (1e-45, -1e-42), (1e38, -1e38), (0.0, 3.4e38)])
def test_unusual_numbers_are_still_numbers(reply: MakeReply, update: tuple[float, float]) -> None:
    admitted = admit([reply(1, update)], asked={1: "site-1"}, size=2)
    assert admitted.rejections == () and admitted.rows.tobytes() == np.array([update], np.float32).tobytes()


def test_a_failure_keeps_its_code(reply: MakeReply) -> None:
    refused = reply(1, None, failure=Failure("E201", "the site's privacy budget would be exceeded"))
    assert codes([refused], {1: "site-1"}) == {"site-1": "E201"}


def test_a_sender_who_was_not_asked_does_not_count(reply: MakeReply) -> None:
    admitted = admit([reply(1), reply(99)], asked={1: "site-1"}, size=2)
    assert admitted.sites == ("site-1",)
    assert [(rejection.site, rejection.code) for rejection in admitted.rejections] == [("site-99", "E306")]


def test_a_sender_counts_once_and_the_same_answer_whatever_comes_first(reply: MakeReply) -> None:
    different = [reply(1, (1, 2)), reply(1, (5, 6)), reply(1, (9, 9), site="another"), reply(1, None)]
    seen = set()
    for order in itertools.permutations(different):
        admitted = admit(order, asked={1: "site-1"}, size=2)
        assert len(admitted.replies) <= 1 and {rejection.code for rejection in admitted.rejections} <= {"E305", "E306"}
        seen.add(admitted.rows.tobytes())
    assert len(seen) == 1


def test_two_nodes_under_one_name_count_as_one_site(reply: MakeReply) -> None:
    both = [reply(5, (1, 2), site="ward"), reply(6, (3, 4), site="ward")]
    for order in (both, both[::-1]):
        admitted = admit(order, asked={5: "node-5", 6: "node-6"}, size=2)
        assert admitted.rows.tolist() == [[1, 2]]
        assert [(rejection.site, rejection.code) for rejection in admitted.rejections] == [("ward", "E306")]


def test_nobody_takes_the_name_of_a_site_that_is_known_by_it(reply: MakeReply) -> None:
    thief, owner = reply(5, (9, 9), site="ward"), reply(6, (3, 4), site="ward")
    admitted = admit([thief, owner], asked={5: "node-5", 6: "ward"}, size=2)
    assert admitted.rows.tolist() == [[3, 4]] and admitted.replies[0].sender == 6


def test_a_bad_reply_does_not_block_its_name(reply: MakeReply) -> None:
    bad = reply(5, np.array([np.nan, 0], np.float32), site="ward")
    admitted = admit([bad, reply(6, (3, 4), site="ward")], asked={5: "node-5", 6: "node-6"}, size=2)
    assert admitted.rows.tolist() == [[3, 4]]


def test_no_replies_give_no_rows(reply: MakeReply) -> None:
    assert codes([], {1: "a", 2: "b"}) == {"a": "E309", "b": "E309"}


@given(
    sends=st.lists(st.tuples(st.integers(1, 8), st.sampled_from(["send", "bad", "fail", "stranger"])), max_size=20),
    seed=st.integers(0, 2**16),
)
def test_each_accepted_site_is_in_the_sum_exactly_once(sends: list[tuple[int, str]], seed: int) -> None:
    """Each site sends its own unit vector, so any double count shows."""
    size = 8
    unit = np.eye(size, dtype=np.float32)
    replies = []
    for sender, what in sends:
        update = None if what == "fail" else unit[sender - 1] * np.float32(np.nan if what == "bad" else 1)
        failure = Failure("E308", "constant") if what == "fail" else None
        node = sender + 100 if what == "stranger" else sender
        replies.append(Reply(sender=node, site=f"site-{node}", update=update, failure=failure))
    asked = {sender: f"site-{sender}" for sender in range(1, size + 1)}
    admitted = admit(replies, asked=asked, size=size)
    expected = np.zeros(size)
    for site in admitted.sites:
        expected[int(site.removeprefix("site-")) - 1] += 1
    assert admitted.rows.sum(axis=0).tolist() == expected.tolist() and expected.max(initial=0) <= 1
    if all(what == "send" for _, what in sends):
        assert set(admitted.sites) == {f"site-{sender}" for sender, _ in sends}
    shuffled = [replies[place] for place in np.random.default_rng(seed).permutation(len(replies))]
    again = admit(shuffled, asked=asked, size=size)
    assert again.rows.tobytes() == admitted.rows.tobytes() and again.sites == admitted.sites


NUMBERS = st.sampled_from([0.0, -1.5, 2.0, 3e38, np.nan, np.inf, -np.inf])


@given(
    rows=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=8), silent=st.lists(st.integers(20, 25), unique=True)
)
def test_rows_are_admitted_as_the_same_replies_are(rows: list[tuple[float, ...]], silent: list[int]) -> None:
    table = np.array(rows, np.float32).reshape(len(rows), 3)
    replies = [Reply(sender=n, site=f"site-{n:02d}", update=row, examples=n) for n, row in enumerate(table, 1)]
    asked = {number: f"site-{number:02d}" for number in [*range(1, len(rows) + 1), *silent]}
    expected = admit(replies, asked=asked, size=3)
    missing = [Rejection(site=f"site-{n:02d}", code="E309", reason="no answer before the deadline") for n in silent]
    found = admit_rows(table, replies, missing)
    assert found.rows.tobytes() == expected.rows.tobytes() and found.norms.tobytes() == expected.norms.tobytes()
    assert found.replies == expected.replies and found.sites == expected.sites
    assert list(found.rejections) == sorted(expected.rejections, key=lambda rejection: rejection.site)


def test_rows_stay_where_they_are_if_all_are_good() -> None:
    rows = np.ones((3, 4), np.float32)
    replies = [Reply(sender=n, site=f"site-{n}", update=rows[n]) for n in range(3)]
    assert admit_rows(rows, replies).rows is rows
    assert admit_rows(np.empty((0, 4), np.float32), []).rows.shape == (0, 4)


def test_the_norms_of_many_long_rows_are_each_row_s_own() -> None:
    rows = np.random.default_rng(0).standard_normal((7, 100_000)).astype(np.float32)
    replies = [Reply(sender=n, site=f"site-{n}", update=row) for n, row in enumerate(rows)]
    expected = [float(np.linalg.norm(row.astype(np.float64))) for row in rows]
    np.testing.assert_allclose(admit_rows(rows, replies).norms, expected, rtol=1e-6)
