"""Intervals hold the truth as often as they say, and say so when they cannot."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom  # type: ignore[import-untyped]  # scipy ships no types

from hedgerow.errors import Misconfigured
from hedgerow.privacy.leakage import bootstrap, conservative_auc, conservative_tpr, roc
from hedgerow.privacy.leakage import interval as module
from hedgerow.privacy.leakage.interval import ROUGH, UNRESOLVABLE, replicate
from hedgerow.privacy.leakage.roc import Floats, allowed_false_alarms, tally

NORMAL = NormalDist()
few_values = st.lists(st.integers(-4, 4), min_size=1, max_size=20)


def drawn(rng: np.random.Generator, members: int, nonmembers: int, shift: float) -> tuple[Floats, Floats]:
    return rng.normal(shift, 1, members), rng.normal(0, 1, nonmembers)


@given(few_values, few_values, st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.1, 0.25, 0.5, 0.9]))
def test_many_resamples_at_once_equal_one_curve_per_resample(
    members: list[int], nonmembers: list[int], seed: int, fpr: float
) -> None:
    rng = np.random.default_rng(seed)
    first = rng.choice(members, size=(5, len(members)))
    second = rng.choice(nonmembers, size=(5, len(nonmembers)))
    levels = sorted({*members, *nonmembers}, reverse=True)
    hits = np.array([[(row == level).sum() for level in levels] for row in first])
    alarms = np.array([[(row == level).sum() for level in levels] for row in second])
    areas, rates = replicate(hits, alarms, [allowed_false_alarms(fpr, len(nonmembers))])
    curves = [roc(m, n) for m, n in zip(first, second, strict=True)]
    assert areas.tolist() == [curve.auc for curve in curves]
    assert rates[:, 0].tolist() == [curve.tpr_at(fpr) for curve in curves]


@given(few_values, few_values, st.integers(0, 2**32 - 1))
def test_merging_thresholds_changes_no_resample(members: list[int], nonmembers: list[int], seed: int) -> None:
    whole = tally(members, nonmembers)
    merged = module._merged(whole)
    assert merged.thresholds <= whole.thresholds
    rng = np.random.default_rng(seed)
    first, second = rng.integers(len(members), size=len(members)), rng.integers(len(nonmembers), size=len(nonmembers))
    figures = []
    for ranks in (whole, merged):
        hits = np.bincount(ranks.members[first], minlength=ranks.thresholds)
        alarms = np.bincount(ranks.nonmembers[second], minlength=ranks.thresholds)
        areas, rates = replicate(hits[None], alarms[None], range(len(nonmembers) + 1))
        figures.append((areas.tolist(), rates.tolist()))
    assert figures[0] == figures[1]


def test_the_bootstrap_agrees_with_a_plain_loop() -> None:
    # Both estimate the same quantiles from 4000 draws. The standard error of a 2.5 % quantile is about
    # sqrt(.025 * .975 / 4000) / density = .0025 / .058 = .042 standard deviations of the resampled figure, so two
    # independent ones differ by .06; five times that is .3 standard deviations. The rate comes in steps of 1/200.
    rng = np.random.default_rng(11)
    members, nonmembers = drawn(rng, 200, 150, 1.0)
    spread = bootstrap(members, nonmembers, (0.1,), rng=rng, resamples=4000)
    curves = [roc(rng.choice(members, 200), rng.choice(nonmembers, 150)) for _ in range(4000)]
    areas, rates = [curve.auc for curve in curves], [curve.tpr_at(0.1) for curve in curves]
    ends = np.quantile(areas, [0.025, 0.975])
    assert (spread.auc.low, spread.auc.high) == pytest.approx(tuple(ends), abs=0.3 * float(np.std(areas)))
    ends = np.quantile(rates, [0.025, 0.975])
    found = spread.tpr[0].interval
    assert (found.low, found.high) == pytest.approx(tuple(ends), abs=0.3 * float(np.std(rates)) + 1 / 200)
    assert spread.auc.value == roc(members, nonmembers).auc
    assert found.value == roc(members, nonmembers).tpr_at(0.1)


def test_the_same_seed_gives_the_same_interval() -> None:
    members, nonmembers = drawn(np.random.default_rng(1), 80, 60, 0.5)
    first = bootstrap(members, nonmembers, (0.05,), rng=np.random.default_rng(5))
    again = bootstrap(np.exp(members), np.exp(nonmembers), (0.05,), rng=np.random.default_rng(5))
    other = bootstrap(members, nonmembers, (0.05,), rng=np.random.default_rng(6))
    assert first == again  # and only the order of the scores matters
    assert first != other


def test_resamples_split_into_blocks_stay_as_many_and_as_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    # 2000 resamples each: the standard error of a quantile is .06 standard deviations, .4 is more than four of them.
    members, nonmembers = drawn(np.random.default_rng(1), 80, 60, 0.5)
    whole = bootstrap(members, nonmembers, rng=np.random.default_rng(5), resamples=2000).auc
    monkeypatch.setattr(module, "CELLS", 1000)
    split = bootstrap(members, nonmembers, rng=np.random.default_rng(5), resamples=2000).auc
    deviation = (whole.high - whole.low) / (2 * 1.96)
    assert (split.low, split.high) == pytest.approx((whole.low, whole.high), abs=0.4 * deviation)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    # 400 trials: a true coverage of .95 shows less than .917 (three standard errors of .011) once in a thousand
    # seeds. The percentile bootstrap of the area is allowed .01 less than nominal at this size, hence .907. The
    # conservative interval promises .95 and is exact, so it gets no allowance. Taking the threshold as given must
    # fail, otherwise this test could not tell a good interval from a bad one.
    rng, trials, n, fpr, shift = np.random.default_rng(2026), 400, 200, 0.05, 1.0
    tpr, auc = 1 - NORMAL.cdf(NORMAL.inv_cdf(1 - fpr) - shift), NORMAL.cdf(shift / 2**0.5)
    held = np.zeros(4)
    for _ in range(trials):
        members, nonmembers = drawn(rng, n, n, shift)
        spread = bootstrap(members, nonmembers, (fpr,), rng=rng, resamples=200)
        found = round(spread.tpr[0].interval.value * n)
        given_threshold = (beta.ppf(0.025, found, n - found + 1), beta.ppf(0.975, found + 1, n - found))
        claim, interval = spread.tpr[0].claim, spread.tpr[0].interval
        held += [
            spread.auc.low <= auc <= spread.auc.high,
            interval.low <= tpr <= interval.high,
            claim.low <= tpr <= claim.high,
            given_threshold[0] <= tpr <= given_threshold[1],
        ]
    area, described, claimed, as_given = held / trials
    assert area >= 0.907
    assert described >= 0.907
    assert claimed >= 0.95
    assert as_given < 0.85


def test_the_interval_for_claims_holds_even_where_nothing_can_be_resolved_and_scores_tie() -> None:
    # Scores rounded to whole numbers, 30 held-out records, one false alarm in a hundred allowed.
    rng, trials, fpr = np.random.default_rng(4), 400, 0.01
    # Thresholds are whole numbers: at 3 the true false positive rate P(round(N) >= 3) = P(N >= 2.5) = .0062.
    tpr = 1 - NORMAL.cdf(2.5 - 1.0)
    held = 0
    for _ in range(trials):
        members, nonmembers = drawn(rng, 60, 30, 1.0)
        claim = conservative_tpr(np.round(members), np.round(nonmembers), fpr)
        held += claim.low <= tpr <= claim.high
    assert held / trials >= 0.95


def test_tied_non_members_who_may_be_too_many_support_no_lower_end() -> None:
    # 15 of 200 non-members tie with every member. If their true share is above a tenth, as it may well be, the only
    # useful threshold is forbidden and the true rate is zero.
    claim = conservative_tpr([1.0] * 300, [1.0] * 15 + [0.0] * 185, 0.1)
    assert (claim.value, claim.low, claim.high) == (1.0, 0.0, 1.0)
    # A share of 1 in 200 is surely below a tenth.
    assert conservative_tpr([1.0] * 300, [1.0] + [0.0] * 199, 0.1).low > 0.98


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([0.01, 0.1, 0.3]), st.integers(0, 2**32 - 1))
def test_the_interval_for_claims_equals_its_definition(n1: int, n0: int, fpr: float, seed: int) -> None:
    members, nonmembers = drawn(np.random.default_rng(seed), n1, n0, 1.0)
    claim = conservative_tpr(members, nonmembers, fpr)
    fewest, most = int(binom.ppf(0.0125, n0, fpr)), int(binom.ppf(0.9875, n0, fpr))
    ordered = [np.inf, *np.sort(nonmembers)[::-1], -np.inf]
    surely, perhaps = int((members > ordered[fewest]).sum()), int((members > ordered[most + 1]).sum())
    low = beta.ppf(0.0125, surely, n1 - surely + 1) if surely else 0.0
    high = beta.ppf(0.9875, perhaps + 1, n1 - perhaps) if perhaps < n1 else 1.0
    assert (claim.low, claim.high) == pytest.approx((low, high), abs=1e-9)
    assert claim.low <= claim.value <= claim.high


@given(few_values, few_values, st.sampled_from([0.01, 0.1, 0.5]))
def test_every_interval_lies_between_zero_and_one_and_claims_contain_their_value(
    members: list[int], nonmembers: list[int], fpr: float
) -> None:
    spread = bootstrap(members, nonmembers, (fpr,), rng=np.random.default_rng(0), resamples=20)
    for interval in (spread.auc, spread.tpr[0].interval, spread.tpr[0].claim):
        assert 0.0 <= interval.low <= interval.high <= 1.0
    claim = spread.tpr[0].claim
    assert claim.low <= claim.value <= claim.high


@pytest.mark.parametrize(("members", "nonmembers"), [([1.0] * 200, [1.0] * 200), ([1.0] * 200, [0.0] * 200)])
def test_scores_that_never_vary_do_not_give_an_interval_of_no_width(
    members: list[float], nonmembers: list[float]
) -> None:
    spread = bootstrap(members, nonmembers, (0.1,), rng=np.random.default_rng(0))
    assert spread.auc == conservative_auc(members, nonmembers)
    assert spread.auc.high - spread.auc.low > 0.09
    assert spread.tpr[0].interval == spread.tpr[0].claim
    assert spread.tpr[0].claim.low < spread.tpr[0].claim.high


def test_one_record_says_nothing() -> None:
    rng = np.random.default_rng(0)
    found = bootstrap([3.0], rng.normal(0, 1, 500), rng=rng).auc
    assert (found.low, found.high) == (0.0, 1.0)
    lone = bootstrap(rng.normal(0, 1, 500), [0.0], (0.05,), rng=rng)
    assert (lone.auc.low, lone.auc.high) == (0.0, 1.0)
    assert (lone.tpr[0].claim.low, lone.tpr[0].claim.high) == (0.0, 1.0)


def test_a_rate_finer_than_one_held_out_record_is_not_resolvable() -> None:
    rng = np.random.default_rng(0)
    members, nonmembers = drawn(rng, 400, 360, 1.0)
    rates = bootstrap(members, nonmembers, (0.001, 0.01, 0.1), rng=rng).tpr
    assert [(at.resolvable, at.note) for at in rates] == [(False, UNRESOLVABLE), (True, ROUGH), (True, "")]
    assert rates[0].interval.value == roc(members, nonmembers).tpr_at(0.0)


def test_the_area_alone_can_be_asked_for() -> None:
    members, nonmembers = drawn(np.random.default_rng(0), 100, 100, 1.0)
    spread = bootstrap(members, nonmembers, (), rng=np.random.default_rng(0))
    assert spread.tpr == () and 0.5 < spread.auc.low < spread.auc.high


def test_more_confidence_means_a_wider_interval() -> None:
    members, nonmembers = drawn(np.random.default_rng(0), 100, 100, 0.5)
    narrow, wide = (
        bootstrap(members, nonmembers, (0.2,), rng=np.random.default_rng(0), confidence=confidence)
        for confidence in (0.8, 0.99)
    )
    for tight, loose in [
        (narrow.auc, wide.auc),
        (narrow.tpr[0].interval, wide.tpr[0].interval),
        (narrow.tpr[0].claim, wide.tpr[0].claim),
    ]:
        assert loose.low < tight.low < tight.high < loose.high


def test_arguments_out_of_range_are_refused() -> None:
    rng = np.random.default_rng(0)
    for fprs in ((0.0,), (1.0,), (0.1, float("nan"))):
        with pytest.raises(Misconfigured, match="E103"):
            bootstrap([1.0], [0.0], fprs, rng=rng)
    for confidence in (0.0, 1.0):
        with pytest.raises(Misconfigured, match="E103"):
            bootstrap([1.0], [0.0], rng=rng, confidence=confidence)
    with pytest.raises(Misconfigured, match="E103"):
        bootstrap([1.0], [0.0], rng=rng, resamples=0)


def test_counts_drawn_at_once_spread_as_records_drawn_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # As above: two independent 2.5 % quantiles of 4000 draws differ by .06 standard deviations, five times that is .3.
    rng = np.random.default_rng(17)
    members, nonmembers = rng.integers(0, 6, 400) + rng.integers(0, 2, 400), rng.integers(0, 6, 300)
    at_once = bootstrap(members, nonmembers, (0.2,), rng=rng, resamples=4000)
    monkeypatch.setattr(module, "MANY", 10**6)
    singly = bootstrap(members, nonmembers, (0.2,), rng=rng, resamples=4000)
    for one, other in ((at_once.auc, singly.auc), (at_once.tpr[0].interval, singly.tpr[0].interval)):
        assert one.value == other.value and one != other
        deviation = (other.high - other.low) / (2 * 1.96)
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.3 * deviation + 1 / 400)
    assert at_once.tpr[0].claim == singly.tpr[0].claim


def test_a_group_too_small_for_a_bootstrap_draws_nothing() -> None:
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    spread = bootstrap(np.arange(9.0), np.arange(50.0), rng=rng)
    assert rng.bit_generator.state == before
    assert spread.auc == conservative_auc(np.arange(9.0), np.arange(50.0))
