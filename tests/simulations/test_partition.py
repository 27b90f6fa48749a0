import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured
from hedgerow.scenario import Scenario
from hedgerow.simulations.partition import Rows, partition, site_names
from hedgerow.simulations.shift import shifted
from hedgerow.simulations.splittask import SplitTask, split
from hedgerow.task import Data, PooledTask, Site, Split

SPLITS = ("iid", "dirichlet:0.01", "dirichlet:0.5", "dirichlet:100", "labels:1", "quantity:0.05", "quantity:3")


def drawn(labels: np.ndarray, sites: int, how: str, seed: int = 0) -> tuple[Rows, ...]:
    return partition(labels, sites=sites, split=how, rng=np.random.default_rng(seed))


def label_lists(least: int) -> st.SearchStrategy[np.ndarray]:
    return st.lists(st.integers(0, 6), min_size=least, max_size=120).map(lambda y: np.array(y, np.int64))


@settings(max_examples=150, deadline=None)
@given(label_lists(12), st.integers(1, 12), st.sampled_from(SPLITS), st.integers(0, 2**32))
def test_every_record_is_at_exactly_one_site_and_no_site_is_empty(
    labels: np.ndarray, sites: int, how: str, seed: int
) -> None:
    shares = drawn(labels, sites, how, seed)
    assert len(shares) == sites
    assert np.array_equal(np.sort(np.concatenate(shares)), np.arange(len(labels)))
    assert all(len(share) for share in shares)
    assert all(np.all(np.diff(share) > 0) for share in shares)


@pytest.mark.parametrize("how", SPLITS)
def test_the_same_seed_gives_the_same_shares_and_another_seed_gives_others(how: str) -> None:
    one, same, other = ([share.tolist() for share in drawn(np.arange(200) % 10, 4, how, seed)] for seed in (1, 1, 2))
    assert one == same != other


@settings(max_examples=60, deadline=None)
@given(label_lists(12), st.integers(1, 12), st.integers(0, 2**32))
def test_iid_sizes_differ_by_at_most_one(labels: np.ndarray, sites: int, seed: int) -> None:
    sizes = [len(share) for share in drawn(labels, sites, "iid", seed)]
    assert max(sizes) - min(sizes) <= 1


def test_iid_deals_labels_evenly() -> None:
    labels = np.repeat(np.arange(4), 1000)
    for share in drawn(labels, 4, "iid"):
        # Hypergeometric with mean 250 and standard deviation 11.9: five of them hold for any sound generator.
        assert np.all(np.abs(np.bincount(labels[share], minlength=4) - 250) < 60)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(1, 8), st.integers(1, 4), st.integers(0, 2**32)
)
def test_a_site_of_label_shards_sees_at_most_two_labels_per_shard(
    extra: list[int], sites: int, per_site: int, seed: int
) -> None:
    sizes = np.array(extra) + 40
    assume(min(sizes) >= sum(sizes) / (sites * per_site) and sum(sizes) >= sites * per_site)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    for share in drawn(labels, sites, f"labels:{per_site}", seed):
        assert len(np.unique(labels[share])) <= 2 * per_site


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_shards_that_meet_the_borders_of_the_labels_hold_one_label_each(seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(10), 40))
    shares = drawn(labels, 10, "labels:2", seed)  # 20 shards of 20 records, two for each label
    assert all(len(share) == 40 and len(np.unique(labels[share])) <= 2 for share in shares)


def test_label_skew_grows_as_alpha_falls() -> None:
    labels = np.repeat(np.arange(10), 200)

    def skew(alpha: str) -> float:  # mean distance of a site's label shares from the pool's, over eight draws
        shares = [share for seed in range(8) for share in drawn(labels, 10, f"dirichlet:{alpha}", seed)]
        mixes = [np.bincount(labels[share], minlength=10) / len(share) for share in shares]
        return float(np.mean([np.abs(mix - 0.1).sum() / 2 for mix in mixes]))

    skews = [skew(alpha) for alpha in ("0.01", "0.1", "1", "10", "1000")]
    assert skews == sorted(skews, reverse=True)
    assert skews[0] > 0.7 and skews[-1] < 0.05


def test_size_skew_grows_as_alpha_falls_while_labels_stay_mixed() -> None:
    labels = np.repeat(np.arange(2), 2000)

    def spread(alpha: str) -> float:
        return float(np.mean([np.std([len(s) for s in drawn(labels, 8, f"quantity:{alpha}", k)]) for k in range(8)]))

    assert spread("0.1") > spread("1") > spread("10") > spread("1000")
    for share in drawn(labels, 8, "quantity:1"):
        if len(share) >= 100:  # half of them, within five binomial standard deviations
            assert abs(labels[share].mean() - 0.5) < 2.5 / np.sqrt(len(share))


def test_dirichlet_proportions_have_the_variance_of_their_law() -> None:
    labels = np.zeros(10_000, np.int64)
    alpha, sites = 2.0, 4
    first = np.array([len(drawn(labels, sites, f"dirichlet:{alpha}", seed)[0]) / 10_000 for seed in range(400)])
    variance = (1 / sites) * (1 - 1 / sites) / (sites * alpha + 1)  # of Dirichlet(2, 2, 2, 2)
    assert abs(first.mean() - 0.25) < 5 * np.sqrt(variance / 400)
    assert 0.7 * variance < first.var() < 1.3 * variance


@pytest.mark.parametrize("how", ["dirichlet:0.000001", "quantity:0.000001"])
def test_an_extreme_draw_is_repaired_with_single_records_of_the_largest_site(how: str) -> None:
    shares = drawn(np.zeros(500, np.int64), 50, how)
    assert sorted(len(share) for share in shares)[:-1] == [1] * 49


def test_as_many_sites_as_records_leaves_one_each() -> None:
    for how in SPLITS:
        assert [len(share) for share in drawn(np.arange(6), 6, how)] == [1] * 6


def test_a_column_gives_each_value_its_own_site() -> None:
    column = np.array(["north", "south", "north", "east"])
    shares = partition(np.zeros(4), sites=3, split="column", rng=np.random.default_rng(0), column=column)
    assert [share.tolist() for share in shares] == [[3], [0, 2], [1]]


def test_numbers_in_a_column_are_ordered_as_numbers() -> None:
    column = np.array([10, 9, 10])
    shares = partition(np.zeros(3), sites=2, split="column", rng=np.random.default_rng(0), column=column)
    assert [share.tolist() for share in shares] == [[1], [0, 2]]
    assert site_names(Scenario(sites=2, split="column"), column) == ("9", "10")


def test_the_values_of_a_column_decide_how_many_sites_there_are() -> None:
    column = np.array(["b", "a", "b", "a"])
    shares = partition(np.zeros(4), sites=10, split="column", rng=np.random.default_rng(0), column=column)
    assert [share.tolist() for share in shares] == [[1, 3], [0, 2]]
    assert site_names(Scenario(sites=10, split="column"), column) == ("a", "b")


@pytest.mark.parametrize(
    ("how", "hint"),
    [
        ("dirichlt:0.5", "did you mean 'dirichlet'?"),
        ("IID", "did you mean 'iid'?"),
        ("label:2", "did you mean 'labels'?"),
        ("", "the choices are iid, dirichlet:ALPHA, labels:PER_SITE, quantity:ALPHA or column"),
        ("zzz", "the choices are iid,"),
        ("dirichlet", "dirichlet:0.5"),
        ("dirichlet:", "dirichlet:0.5"),
        ("dirichlet:0", "dirichlet:0.5"),
        ("dirichlet:-1", "dirichlet:0.5"),
        ("dirichlet:nan", "dirichlet:0.5"),
        ("dirichlet:inf", "dirichlet:0.5"),
        ("dirichlet:1e400", "dirichlet:0.5"),
        ("dirichlet:1:2", "dirichlet:0.5"),
        ("dirichlet:1_0", "dirichlet:0.5"),
        ("quantity:much", "quantity:0.5"),
        ("labels:0", "labels:2"),
        ("labels:1.5", "labels:2"),
        ("labels:1e99", "labels:2"),
        ("labels", "labels:2"),
        ("iid:3", "write iid"),
        ("column:hospital", "write column"),
    ],
)
def test_a_split_outside_the_grammar_is_refused_with_a_way_out(how: str, hint: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        drawn(np.arange(50), 2, how)
    assert caught.value.code == "E103" and hint in caught.value.hint


@pytest.mark.parametrize("how", ["iid", "dirichlet:0.5", "quantity:1", "labels:1"])
def test_more_sites_than_records_are_refused(how: str) -> None:
    with pytest.raises(Misconfigured, match="E125"):
        drawn(np.arange(3), 4, how)


def test_more_shards_than_records_are_refused() -> None:
    with pytest.raises(Misconfigured, match="E125") as caught:
        drawn(np.arange(10), 4, "labels:3")
    assert "at least 12 records, but there are 10" in caught.value.message


def test_no_sites_are_refused() -> None:
    with pytest.raises(Misconfigured, match="E103"):
        drawn(np.arange(3), 0, "iid")


@pytest.mark.parametrize(
    ("column", "sites", "code"),
    [
        (None, 2, "E104"),
        (np.array(["a", "b", "c"]), 2, "E105"),
        (np.array(["a", "b"]), 2, "E126"),
        (np.array([1.0, np.nan, 2.0]), 2, "E123"),
        (np.array(["a", None, "b"], object), 2, "E123"),
        (np.array(["a", "", "b"]), 2, "E123"),
    ],
)
def test_a_column_that_names_no_sites_is_refused(column: np.ndarray | None, sites: int, code: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        partition(np.zeros(3), sites=sites, split="column", rng=np.random.default_rng(0), column=column)
    assert caught.value.code == code and caught.value.hint


class Pool(PooledTask):
    """Forty records that are their own row numbers; the other methods prove that a split delegates."""

    name = "pool"
    labels = ("even", "odd")

    def __init__(self, column: np.ndarray | None = None) -> None:
        rows = np.arange(40)
        self._pool = Data(
            Split(rows[:, None].astype(np.float32), (rows % 2).astype(np.int64)),
            Split(np.zeros((3, 1), np.float32), np.zeros(3, np.int64)),
        )
        self._column = column

    def model(self) -> Any:
        return "the model"

    def pool(self) -> Data:
        return self._pool

    @property
    def column(self) -> np.ndarray | None:
        return self._column

    def loss(self, logits: Any, y: Any) -> Any:
        return "the loss"

    def metrics(self, logits: Any, y: Any) -> Any:
        return {"the metric": 1.0}


def records(task: SplitTask, index: int) -> list[int]:
    site = Site(name="s", index=index, count=len(task.shares))
    return [int(value) for value in task.data(site).train.x[:, 0]]


def test_a_split_task_hands_each_site_its_share_and_the_server_the_test_records() -> None:
    task = split(Pool(), Scenario(sites=4, split="dirichlet:0.5"))
    assert sorted(sum((records(task, index) for index in range(4)), [])) == list(range(40))
    data = task.data(Site(name="s", index=2, count=4))
    assert np.array_equal(data.train.y, data.train.x[:, 0].astype(np.int64) % 2)
    assert len(data.test) == 0 and data.test.x.shape == (0, 1)
    held_out = task.held_out()
    assert held_out is not None and len(held_out) == 3


def test_a_split_task_keeps_everything_else_of_the_inner_task() -> None:
    task: Any = split(Pool(), Scenario(sites=4))
    assert (task.name, task.labels, task.model()) == ("pool", ("even", "odd"), "the model")
    assert task.loss(None, None) == "the loss" and task.metrics(None, None) == {"the metric": 1.0}


def test_a_split_depends_on_the_seed_and_on_nothing_else_random() -> None:
    np.random.seed(1)
    one = split(Pool(), Scenario(sites=4, seed=7))
    np.random.seed(2)
    same = split(Pool(), Scenario(sites=4, seed=7, attack="sign-flip", attackers=1))
    other = split(Pool(), Scenario(sites=4, seed=8))
    assert [records(one, k) for k in range(4)] == [records(same, k) for k in range(4)]
    assert [records(one, k) for k in range(4)] != [records(other, k) for k in range(4)]


def test_a_split_draws_from_its_own_branch_of_the_seed() -> None:
    task = split(Pool(), Scenario(sites=4, split="iid", seed=5))
    owner = np.random.default_rng(np.random.SeedSequence(5, spawn_key=(1,))).permutation(np.arange(40) % 4)
    assert [records(task, k) for k in range(4)] == [np.flatnonzero(owner == k).tolist() for k in range(4)]


@pytest.mark.parametrize("index", [-1, 4, 100])
def test_a_site_beyond_the_split_is_refused(index: int) -> None:
    task = split(Pool(), Scenario(sites=4))
    with pytest.raises(Misconfigured, match="E125"):
        task.data(Site(name="site-99", index=index, count=4))


def test_sites_are_numbered_with_as_many_digits_as_the_last_needs() -> None:
    assert site_names(Scenario(sites=2)) == ("site-01", "site-02")
    assert site_names(Scenario(sites=100))[8] == "site-009"
    assert site_names(Scenario(sites=100))[-1] == "site-100"


def test_a_column_split_names_its_sites_after_the_values() -> None:
    task = split(Pool(np.array(["west", "east"] * 20)), Scenario(sites=2, split="column"))
    assert task.site_names == ("east", "west")
    assert records(task, 0) == list(range(1, 40, 2))


def site(task: SplitTask, index: int) -> Site:
    return Site(name="s", index=index, count=len(task.shares))


def test_without_drift_a_round_s_rows_are_the_share_itself_and_not_a_copy() -> None:
    task = split(Pool(), Scenario(sites=4))
    assert all(task.rows(index, round=3, rounds=9) is task.shares[index] for index in range(4))


@pytest.mark.parametrize("share", [0.25, 0.4, 1.0])
def test_drift_takes_each_site_through_its_labels_from_the_first_to_the_last_and_misses_no_record(share: float) -> None:
    plain, task = split(Pool(), Scenario(sites=4)), split(Pool(), Scenario(sites=4, drift=f"labels:{share}"))
    labels = task.inner.pool().train.y
    for index, everything in enumerate(task.shares):
        assert np.array_equal(everything, plain.shares[index])
        rounds = [task.rows(index, round=number, rounds=4) for number in range(1, 5)]
        assert np.array_equal(np.unique(np.concatenate(rounds)), everything)
        assert {len(rows) for rows in rounds} == {math.ceil(share * len(everything))}
        zeros = np.count_nonzero(labels[everything] == 0)
        assert np.count_nonzero(labels[rounds[0]] == 0) == min(zeros, len(rounds[0]))
        assert records(task, index) == everything.tolist()  # `data` stays the whole share


def test_without_shift_there_is_no_transform() -> None:
    for shift in ("none", "affine:0"):
        task = split(Pool(), Scenario(sites=4, shift=shift))
        assert all(task.transform(index) is None for index in range(4))
        assert task.data(site(task, 1)).train.x.tolist() == task.inner.pool().train.x[task.shares[1]].tolist()


def test_a_shift_is_the_same_for_the_same_seed_and_another_at_each_site_and_seed() -> None:
    one, same, other = (split(Pool(), Scenario(sites=4, shift="affine:0.5", seed=seed)) for seed in (3, 3, 4))
    seen = [[tuple(np.ravel(task.transform(k)).tolist()) for k in range(4)] for task in (one, same, other)]  # type: ignore[arg-type]
    assert seen[0] == seen[1] and len({*seen[0], *seen[2]}) == 8


def test_a_site_s_data_are_its_share_of_the_pool_transformed() -> None:
    task = split(Pool(), Scenario(sites=4, shift="affine:0.5"))
    pool = task.inner.pool()
    before = pool.train.x.copy()
    for index in range(4):
        affine, train = task.transform(index), task.data(site(task, index)).train
        assert affine is not None and affine[0].shape == affine[1].shape == (1,)
        rows = task.shares[index]
        assert np.array_equal(train.x, shifted(pool.train.x[rows], affine)) and not np.array_equal(
            train.x, before[rows]
        )
        assert np.array_equal(train.y, pool.train.y[rows])
    assert np.array_equal(pool.train.x, before)
    held_out = task.held_out()
    assert held_out is not None and np.array_equal(held_out.x, pool.test.x)


def test_a_shift_does_not_change_who_has_which_record() -> None:
    plain, moved = (split(Pool(), Scenario(sites=4, shift=shift)) for shift in ("none", "affine:2"))
    assert all(np.array_equal(one, other) for one, other in zip(plain.shares, moved.shares, strict=True))


@pytest.mark.parametrize("index", [-1, 4])
def test_rows_of_a_site_beyond_the_split_are_refused(index: int) -> None:
    with pytest.raises(Misconfigured, match="E125"):
        split(Pool(), Scenario(sites=4)).rows(index, round=1, rounds=1)


def test_partitions_need_no_torch() -> None:
    code = "import sys, hedgerow.simulations.partition; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
