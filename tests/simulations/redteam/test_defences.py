"""Defences: a short name for settings of the job, what each needs, and what it promises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgerow import Aggregate, Job, Privacy, Secure
from hedgerow.aggregation import minimum_rows
from hedgerow.errors import Misconfigured
from hedgerow.simulations.redteam.defences import Defence, asked_in_a_round, default_defences, once

JOB = Job(privacy=Privacy(unit="none"), secure=Secure(mode="off"))
TEXTS = ("mean", "krum", "nnm|trimmed-mean", "clip+nnm|median", "median|epochs=2|local.optimizer=adam")


@pytest.mark.parametrize("text", TEXTS)
def test_a_defence_is_written_as_it_is_read(text: str) -> None:
    assert Defence.parse(text).name == text
    assert Defence.parse(Defence.parse(text).name) == Defence.parse(text)


def test_a_key_may_be_written_whole_or_by_its_last_part() -> None:
    assert Defence.parse("median|update_momentum=0.9") == Defence.parse("median|local.update_momentum=0.9")
    with pytest.raises(Misconfigured) as caught:
        Defence.parse("median|momentum=0.9")  # of the sites or of the server?
    assert caught.value.code == "E101"


@given(st.text(alphabet="abn m+|=,.;'\"1", max_size=14))
def test_any_other_text_is_an_error_with_a_code(text: str) -> None:
    try:
        made = Defence.parse(text)
    except Misconfigured as error:
        assert error.code in ("E101", "E102", "E103", "E105")
    else:
        assert Defence.parse(made.name) == made


def test_its_settings_make_the_job_told_of_f() -> None:
    job = Defence.parse("nnm|krum|local.epochs=3").job(JOB, 2)
    assert (job.aggregate.rule, job.aggregate.before, job.aggregate.byzantine, job.local.epochs) == (
        "krum",
        "nnm",
        2,
        3,
    )


@pytest.mark.parametrize(
    ("defence", "weights"),
    [("mean", "examples"), ("clip+nnm|trimmed-mean", "examples"), ("bulyan", "uniform"), ("dnc", "uniform")],
)
def test_a_job_that_weighs_by_examples_is_tried_so_with_every_rule_that_can(defence: str, weights: str) -> None:
    job = JOB.override(
        {"aggregate.rule": "trimmed-mean", "aggregate.before": "clip+nnm", "aggregate.weights": "examples"}
    )
    assert Defence.of(job).job(job, 1).aggregate.weights == "examples"
    assert Defence.parse(defence).job(job, 1).aggregate.weights == weights


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        ("trimed-mean", "E103", "did you mean 'trimmed-mean'?"),
        ("nmm|trimmed-mean", "E103", "did you mean 'nnm'?"),
        ("median|epohcs=2", "E101", "did you mean 'local.epochs'?"),
        ("median|aggregate.byzantine=3", "E105", "--f"),
        ("median|aggregate.rule=krum", "E105", ""),
        ("a|b|c", "E102", "nnm|trimmed-mean"),
        ("", "E102", ""),
        ("|median", "E102", ""),
        ("local.epochs=2", "E102", ""),
    ],
)
def test_a_typo_names_the_nearest(text: str, code: str, hint: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Defence.parse(text)
    assert (caught.value.code, caught.value.place) == (code, "defences") and hint in caught.value.hint


def test_a_setting_that_no_job_can_have_names_the_defence() -> None:
    with pytest.raises(Misconfigured) as caught:
        Defence.parse("mean|update_momentum=2").job(JOB, 1)
    assert (caught.value.code, caught.value.place) == ("E103", "defences")
    assert "in 'mean|update_momentum=2': 'local.update_momentum' is 2" in caught.value.message


@pytest.mark.parametrize("text", ["median", "krum", "nnm|trimmed-mean", "mean"])
@pytest.mark.parametrize("f", [1, 3])
def test_it_fits_exactly_from_the_rules_minimum_on(text: str, f: int) -> None:
    defence = Defence.parse(text)
    needed = minimum_rows(defence.rule, f, defence.before)
    assert defence.unfit(f, needed) == ""
    assert str(needed) in defence.unfit(f, needed - 1)


@pytest.mark.parametrize("n", [3, 4, 7, 10, 11])
@pytest.mark.parametrize("text", ["median", "krum", "nnm|trimmed-mean"])
def test_it_never_promises_anything_against_half_of_the_sites(text: str, n: int) -> None:
    defence = Defence.parse(text)
    assert all(defence.unsound(f, n) for f in range((n + 1) // 2, n + 1))


def test_the_mean_promises_nothing() -> None:
    assert Defence.parse("mean").unsound(1, 100) == "it tolerates no hostile site"
    assert Defence.parse("clip|mean").unsound(1, 100) == "it tolerates no hostile site"


def test_the_jobs_own_stands_first_and_the_plain_mean_last() -> None:
    for aggregate in (Aggregate(), Aggregate(rule="krum", before="none"), Aggregate(rule="mean", before="none")):
        job = JOB.override({"aggregate.rule": aggregate.rule, "aggregate.before": aggregate.before})
        names = [defence.name for defence in default_defences(job)]
        assert names[0] == Defence.of(job).name and "mean" in (names[0], names[-1])
        assert len(names) == len(set(names)) and 4 <= len(names) <= 5


def test_what_the_job_is_already_is_not_tried_twice() -> None:
    job = JOB.override({"local.update_momentum": 0.9})
    names = [defence.name for defence in default_defences(job)]
    assert names == ["reject+arc+nnm|trimmed-mean", "nnm|trimmed-mean", "mean"]


def test_the_same_defence_stands_once() -> None:
    krum, mean = Defence.parse("krum"), Defence.parse("mean")
    assert once([krum, mean, Defence.parse("none|krum")]) == (krum, mean)


def test_who_is_asked_is_counted_as_a_round_does() -> None:
    job = JOB.override({"cohort.fraction": 0.5, "cohort.over_select": 0.2})
    assert [asked_in_a_round(job, sites) for sites in (10, 4, 1)] == [6, 3, 1]


def test_simpler_ones_have_fewer_steps() -> None:
    assert [Defence.parse(text).steps for text in ("mean", "median", "nnm|median", "clip+nnm|median")] == [0, 1, 2, 3]
