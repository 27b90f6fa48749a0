"""Tests of hedgerow.survey: each site's records are looked at once, and little is kept of them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from hedgerow.findings import Finding
from hedgerow.survey import SiteFacts, survey
from hedgerow.task import Data, Site, Split, Task

NONE = Split(np.empty((0, 3), np.float32), np.empty(0, np.int64))


class Made(Task):
    """Each site's records come from a function of its index."""

    def __init__(self, make: Callable[[int], Split], test: Callable[[int], Split] = lambda index: NONE) -> None:
        self.make = make
        self.test = test

    def model(self) -> nn.Module:
        return nn.Linear(3, 2)

    def data(self, site: Site) -> Data:
        return Data(self.make(site.index), self.test(site.index))


def sites(count: int) -> list[Site]:
    return [Site(name=f"site-{index}", index=index, count=count) for index in range(count)]


def random(count: int, *, seed: int = 0, features: int = 3) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.normal(size=(count, features)).astype(np.float32), rng.integers(0, 2, count))


def test_the_facts_are_those_of_the_records() -> None:
    seen = survey(Made(lambda index: random(5 + index, seed=index), lambda index: random(index, seed=9)), sites(3))
    assert [site.name for site in seen.sites] == ["site-0", "site-1", "site-2"]
    assert [site.records for site in seen.sites] == [5, 6, 7]
    assert [len(site.hashes) for site in seen.sites] == [5, 7, 9]  # training and held-out records
    everything = np.concatenate([random(5 + index, seed=index).x for index in range(3)])
    assert seen.ranges is not None
    assert np.array_equal(seen.ranges[0], everything.min(axis=0))
    assert np.array_equal(seen.ranges[1], everything.max(axis=0))
    assert seen.failures == () and seen.server is None


def test_equal_records_and_only_those_have_equal_hashes() -> None:
    one = random(50, seed=1)
    again = Split(one.x.copy(), one.y.copy())
    again.y[7] += 1  # another label makes another record
    again.x[9, 2] = np.nextafter(again.x[9, 2], np.float32(np.inf))
    first, second = survey(Made([one, again].__getitem__), sites(2)).sites
    assert np.flatnonzero(first.hashes != second.hashes).tolist() == [7, 9]
    assert len(np.unique(first.hashes)) == 50


def test_images_and_single_numbers_are_records_too() -> None:
    images = Split(np.zeros((4, 1, 8, 8), np.float32), np.zeros(4, np.int64))
    numbers = Split(np.arange(4, dtype=np.float32), np.zeros(4, np.int64))
    empty = Split(np.zeros((4, 0), np.float32), np.zeros(4, np.int64))
    for split, distinct in ((images, 1), (numbers, 4), (empty, 1)):
        (site,) = survey(Made(lambda index, split=split: split), sites(1)).sites  # type: ignore[misc]
        assert site.shapes == (split.x.shape[1:],) and site.finite and len(np.unique(site.hashes)) == distinct


def test_a_value_that_is_not_finite_is_seen_wherever_it_is() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        split = random(10)
        split.x[4, 1] = bad
        assert [site.finite for site in survey(Made([split, random(10)].__getitem__), sites(2)).sites] == [False, True]
        held = Made(lambda index: random(10), lambda index, split=split: split)  # type: ignore[misc]
        assert not survey(held, sites(1)).sites[0].finite


def test_the_sample_comes_from_a_site_with_several_records_where_there_is_one() -> None:
    sizes = [0, 1, 30, 2]
    sample = survey(Made(lambda index: random(sizes[index], seed=index)), sites(4)).sample
    assert sample is not None and np.array_equal(sample.x, random(30, seed=2).x[:4])
    alone = survey(Made(lambda index: random(sizes[index], seed=index)), sites(2)).sample
    assert alone is not None and len(alone) == 1
    assert survey(Made(lambda index: NONE), sites(2)).sample is None


def test_sites_of_different_features_have_no_common_ranges() -> None:
    assert survey(Made(lambda index: random(5, features=3 + index)), sites(2)).ranges is None


def test_the_held_out_records_are_surveyed_and_their_failure_is_a_finding() -> None:
    class Held(Made):
        def held_out(self) -> Split | None:
            return random(6)

    class Fails(Made):
        def held_out(self) -> Split | None:
            raise OSError("no such file")

    good, bad = (survey(kind(lambda index: random(5)), sites(1)).server for kind in (Held, Fails))
    assert isinstance(good, SiteFacts) and good.records == 6
    assert isinstance(bad, Finding) and bad.code == "E120"


def test_a_survey_keeps_a_few_bytes_a_record() -> None:
    def make(index: int) -> Split:
        return Split(np.full((100, 500), index, np.float32), np.zeros(100, np.int64))  # 200 kB

    task = Made(make)
    survey(task, sites(2))
    tracemalloc.start()
    try:
        seen = survey(task, sites(200))  # 40 MB in all
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(seen.sites) == 200 and kept < 2e6 and peak < 4e6


def test_surveying_asks_for_no_model() -> None:
    class Modelless(Made):
        def model(self) -> nn.Module:
            raise AssertionError("a survey needs no model")

    state = torch.random.get_rng_state()
    assert len(survey(Modelless(lambda index: random(3)), sites(2)).sites) == 2
    assert torch.equal(torch.random.get_rng_state(), state)
