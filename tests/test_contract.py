"""Tests of hedgerow.contract: what must hold for every site's records, said in few lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hedgerow.contract import check_data, suggest_delta
from hedgerow.findings import Finding
from hedgerow.task import Data, Site, Split, Task


class Given(Task):
    """A task whose sites have exactly the given records."""

    labels = ("no", "yes")

    def __init__(
        self, splits: Sequence[Split], *, inputs: int = 3, outputs: int = 2, server: Split | None = None
    ) -> None:
        self.splits = splits
        self.inputs = inputs
        self.outputs = outputs
        self.server = server

    def model(self) -> torch.nn.Module:
        return torch.nn.Linear(self.inputs, self.outputs)

    def data(self, site: Site) -> Data:
        train = self.splits[site.index]
        return Data(train, train.take(np.arange(0)))

    def held_out(self) -> Split | None:
        return self.server


def records(count: int, *, seed: int, features: int = 3) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.normal(size=(count, features)).astype(np.float32), np.arange(count) % 2)


def good(count: int = 4) -> list[Split]:
    return [records(20 + site, seed=site) for site in range(count)]


def sites(count: int) -> list[Site]:
    return [Site(name=f"site-{index:03d}", index=index, count=count) for index in range(count)]


def check(task: Given, delta: float | None = None) -> list[Finding]:
    return check_data(task, sites(len(task.splits)), privacy_delta=delta)


def codes(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.code) for finding in findings]


def test_good_data_has_no_findings() -> None:
    assert check(Given(good(), server=records(5, seed=99)), delta=1e-3) == []


def test_checking_leaves_torchs_generator_as_it_was() -> None:
    torch.manual_seed(1)
    check(Given(good()))
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))


def test_no_sites_is_an_error() -> None:
    assert codes(check(Given([]))) == [("error", "E125")]


def test_a_site_without_records_is_an_error() -> None:
    found = check(Given([*good(), records(0, seed=0)]))
    assert codes(found) == [("error", "E125")] and "'site-004'" in found[0].message


def test_a_site_with_one_record_is_an_error_only_under_privacy() -> None:
    task = Given([*good(), records(1, seed=50)])
    assert ("warning", "E125") in codes(check(task)) and ("error", "E125") not in codes(check(task))
    assert ("error", "E125") in codes(check(task, delta=1e-4))


@pytest.mark.parametrize(("delta", "refused"), [(1 / 20, True), (1 / 23, True), (1 / 24, False)])
def test_delta_must_be_below_one_over_n_at_every_site(delta: float, refused: bool) -> None:
    found = check(Given(good()), delta=delta)  # the largest site has 23 records
    assert (("error", "E132") in codes(found)) == refused
    if refused:
        error = next(finding for finding in found if finding.code == "E132")
        assert "n = 23" in error.message and "0.0001" in error.hint


@given(n=st.integers(1, 10**9))
def test_the_suggested_delta_is_a_tenth_of_one_over_n_or_less(n: int) -> None:
    assert 0 < suggest_delta(n) <= min(1e-4, 0.1 / n * (1 + 1e-12))
    assert math.log10(suggest_delta(n)) == pytest.approx(round(math.log10(suggest_delta(n))))


def test_the_odd_shape_is_named_not_the_usual_one() -> None:
    found = check(Given([records(50, seed=1, features=4), *good()], inputs=4))
    assert ("error", "E126") in codes(found)
    assert "'site-000' has records of shape (4,), the others of shape (3,)" in found[0].message


def test_a_model_that_does_not_take_the_records_is_an_error() -> None:
    found = check(Given(good(), inputs=5))
    assert codes(found) == [("error", "E126")] and "shape (3,)" in found[0].message


def test_a_model_that_returns_something_else_than_logits_is_an_error() -> None:
    class Flat(Given):
        def model(self) -> torch.nn.Module:
            return torch.nn.Flatten(0)

    found = check(Flat(good()))
    assert codes(found) == [("error", "E126")] and "logits" in found[0].hint


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_values_are_an_error_at_the_site_that_has_them(bad: float) -> None:
    splits = good()
    splits[2].x[3, 1] = bad
    found = [finding for finding in check(Given(splits)) if finding.level == "error"]
    assert codes(found) == [("error", "E123")] and "'site-002'" in found[0].message


@pytest.mark.parametrize("label", [2, -1])
def test_labels_beyond_the_outputs_are_an_error(label: int) -> None:
    splits = good()
    splits[1].y[0] = label
    found = [finding for finding in check(Given(splits)) if finding.level == "error"]
    assert codes(found) == [("error", "E124")] and "'site-001'" in found[0].message


def test_the_servers_records_are_judged_too() -> None:
    found = check(Given(good(), server=records(5, seed=9, features=2)))
    assert codes(found) == [("error", "E126")] and "the server" in found[0].message


def test_a_label_that_no_site_has_is_a_warning() -> None:
    found = check(Given(good(), outputs=3))
    assert [finding.level for finding in found] == ["warning", "warning"]  # and three outputs for two names
    assert any("no site has a training record of the label '2'" in finding.message for finding in found)


def test_a_site_of_one_label_is_a_note() -> None:
    splits = good()
    splits[3].y[:] = 1
    found = check(Given(splits))
    assert codes(found) == [("note", "")] and "'site-003'" in found[0].message


def test_features_that_never_change_are_a_note() -> None:
    splits = good()
    for split in splits:
        split.x[:, 2] = 0.5
    found = check(Given(splits))
    assert codes(found) == [("note", "")] and found[0].message.startswith("1 of 3 features")


def test_a_record_at_two_sites_is_a_warning_and_a_copy_within_one_site_is_not() -> None:
    splits = good()
    splits[0].x[1], splits[0].y[1] = splits[0].x[0], splits[0].y[0]
    assert check(Given(splits)) == []
    splits[3].x[0], splits[3].y[0] = splits[0].x[0], splits[0].y[0]
    found = check(Given(splits))
    assert codes(found) == [("warning", "E127")] and found[0].message.startswith("1 record")
    assert "'site-000' and 'site-003'" in found[0].message


def test_a_task_that_raises_is_a_finding_and_the_other_sites_are_still_judged() -> None:
    class Broken(Given):
        def data(self, site: Site) -> Data:
            if site.index == 1:
                raise ValueError("no such folder")
            return super().data(site)

    splits = good()
    splits[2].x[0, 0] = np.nan
    found = check(Broken(splits))
    assert codes(found) == [("error", "E120"), ("error", "E123")]
    assert "'site-001'" in found[0].message and "no such folder" in found[0].message


def test_something_else_than_data_is_an_error() -> None:
    class Tuples(Given):
        def data(self, site: Site) -> Data:
            return (1, 2)  # type: ignore[return-value]

    assert codes(check(Tuples(good()))) == [("error", "E126")]


def test_a_thousand_sites_that_share_a_fault_are_one_finding() -> None:
    class Named(Given):
        def data(self, site: Site) -> Data:
            if site.index < 500:
                raise OSError(f"cannot open {site.name}")
            data = super().data(site)
            return data if site.index < 900 else replace(data, train=data.train.take(np.arange(0)))

    found = check(Named(good(1000)), delta=0.5)
    assert len(found) == 3
    assert "500 sites, for example 'site-000'" in found[0].message
    assert "100 sites, for example 'site-900', have no training records" in found[1].message
    assert "400 sites, for example 'site-899'" in found[2].message  # the largest


def test_the_worst_comes_first() -> None:
    splits = [*good(), records(0, seed=0)]
    splits[3].y[:] = 1
    levels = [finding.level for finding in check(Given(splits, outputs=3))]
    assert levels == sorted(levels, key=("error", "warning", "note").index)


@pytest.mark.parametrize(
    ("empty", "words"),
    [
        (1, "'site-002' has no training records"),
        (2, "'site-002' and 'site-003' have no training records"),
        (3, "3 sites, for example 'site-002', have no training records"),
    ],
)
def test_one_site_has_and_several_have(empty: int, words: str) -> None:
    splits = [*good(2), *(records(0, seed=0) for _ in range(empty))]
    assert words in [finding.message for finding in check(Given(splits)) if finding.code == "E125"]
