import numpy as np
import pytest

from hedgerow.aggregation import Groups, aggregate, make_rule
from hedgerow.errors import Misconfigured


def test_each_hostile_site_spoils_one_group_at_most() -> None:
    groups = Groups(size=5, f=4)
    assert groups.rows(50) == 10 and groups.rows(54) == 10
    assert groups.hostile(10) == 4
    assert Groups(size=3, f=0).hostile(1) == 0


@pytest.mark.parametrize(("f", "m"), [(4, 8), (5, 10), (3, 2), (1, 1)])
def test_where_half_of_the_groups_may_be_spoilt_it_refuses(f: int, m: int) -> None:
    with pytest.raises(Misconfigured, match="E103 .* hostile sites can spoil"):
        Groups(size=5, f=f).hostile(m)


def test_numbers_that_make_no_sense_are_refused() -> None:
    for bad in ({"size": 0, "f": 1}, {"size": 2, "f": -1}):
        with pytest.raises(Misconfigured, match="E103"):
            Groups(**bad)


@pytest.mark.parametrize("name", ["median", "trimmed-mean", "multi-krum", "mda", "spectral", "geometric-median"])
def test_a_rule_told_so_withstands_hostile_sites_wherever_they_fall(name: str) -> None:
    rng = np.random.default_rng(0)
    groups = Groups(size=5, f=3)
    for _ in range(10):
        X = rng.standard_normal((50, 20))
        X[rng.choice(50, 3, replace=False)] = 1e4
        sums = X[rng.permutation(50)].reshape(groups.rows(50), 5, 20).sum(axis=1)
        rule = make_rule(name, byzantine=groups.hostile(10))
        assert np.abs(aggregate(sums / 5, rule).vector).max() < 2
