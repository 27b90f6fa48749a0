"""Who is asked: the stated share of those who are there, each equally often, whatever order they are listed in."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgerow.job import Cohort
from hedgerow.server.selection import select

NODES = st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=30)
COHORTS = st.builds(
    Cohort,
    fraction=st.floats(0.01, 1.0),
    quorum=st.integers(1, 20),
    over_select=st.floats(0.0, 1.0),
)


@given(nodes=NODES, cohort=COHORTS, seed=st.integers(0, 99))
def test_a_cohort_is_a_sorted_subset_of_the_stated_size(nodes: list[int], cohort: Cohort, seed: int) -> None:
    chosen = select(cohort, nodes, np.random.default_rng(seed))
    wanted = math.ceil(len(nodes) * cohort.fraction * (1 + cohort.over_select) - 1e-9)
    assert len(chosen) == len(set(chosen)) == min(len(nodes), max(wanted, cohort.quorum))
    assert chosen == sorted(chosen) and set(chosen) <= set(nodes)


@given(nodes=NODES, cohort=COHORTS, seed=st.integers(0, 99), data=st.data())
def test_the_order_in_which_nodes_are_listed_does_not_matter(
    nodes: list[int], cohort: Cohort, seed: int, data: st.DataObject
) -> None:
    other = data.draw(st.permutations(nodes))
    assert select(cohort, nodes, np.random.default_rng(seed)) == select(cohort, other, np.random.default_rng(seed))


def test_every_node_is_asked_equally_often() -> None:
    rng, times = np.random.default_rng(0), Counter[int]()
    for _ in range(3000):
        times.update(select(Cohort(fraction=0.3, quorum=1), range(10), rng))
    assert sum(times.values()) == 9000
    assert all(abs(count - 900) < 5 * math.sqrt(3000 * 0.3 * 0.7) for count in times.values())


@pytest.mark.parametrize(("nodes", "fraction", "size"), [(10, 0.3, 3), (100, 0.07, 7), (20, 0.15, 3), (10, 0.31, 4)])
def test_a_fraction_that_is_not_exact_in_binary_asks_no_one_too_many(nodes: int, fraction: float, size: int) -> None:
    assert len(select(Cohort(fraction=fraction, quorum=1), range(nodes), np.random.default_rng(0))) == size


def test_the_whole_federation_needs_no_draw() -> None:
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    assert select(Cohort(), [3, 1, 2], rng) == [1, 2, 3] and select(Cohort(), [], rng) == []
    assert rng.bit_generator.state == before
