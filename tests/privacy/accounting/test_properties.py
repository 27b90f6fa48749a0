"""What holds for every price, whichever accountant gives it."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured
from hedgerow.privacy import (
    DiscreteGaussian,
    Event,
    Gaussian,
    Laplace,
    SampledGaussian,
    Skellam,
    calibrate,
    delta,
    epsilon,
)
from hedgerow.privacy.accounting import ALLOWED, Accountant, Relation
from hedgerow.privacy.accounting.gaussian import gaussian_epsilon
from hedgerow.privacy.chain import State, genesis, linked, verified
from hedgerow.privacy.charge import Charge

GOLDEN = "273de884fcbad550f03b10bc8f4b4729be5e9dea35b3b6d0a68ee52fafb0ac46"  # by the first version
SLACK = 1.002  # two prices may each lie a thousandth above the truth
ACCOUNTANTS: tuple[Accountant, ...] = ("pld", "rdp")
RELATIONS: tuple[Relation, ...] = ("add_remove", "replace_one")

sampled = st.builds(
    lambda q, noise, steps: SampledGaussian(q=q, noise_multiplier=noise, steps=steps),
    st.floats(1e-3, 1.0),
    st.floats(0.5, 10.0),
    st.integers(1, 500),
)
others = st.one_of(
    st.builds(lambda noise, steps: Gaussian(noise_multiplier=noise, steps=steps), st.floats(1, 20), st.integers(1, 9)),
    st.builds(lambda scale, steps: Laplace(scale=scale, steps=steps), st.floats(1, 50), st.integers(1, 9)),
)


@settings(max_examples=20, deadline=None)
@given(event=sampled, budget=st.sampled_from([1e-3, 1e-5, 1e-8]), factor=st.floats(1.05, 3.0))
def test_more_sampling_more_steps_or_less_noise_never_cost_less(
    event: SampledGaussian, budget: float, factor: float
) -> None:
    price = epsilon([event], delta=budget)
    for more in (
        replace(event, q=min(1.0, event.q * factor)),
        replace(event, steps=math.ceil(event.steps * factor)),
        replace(event, noise_multiplier=event.noise_multiplier / factor),
    ):
        assert epsilon([more], delta=budget) * SLACK + 1e-6 >= price
    assert epsilon([event], delta=budget / 10) * SLACK + 1e-6 >= price


@settings(max_examples=20, deadline=None)
@given(events=st.lists(st.one_of(sampled, others), min_size=1, max_size=3), budget=st.sampled_from([1e-3, 1e-6]))
def test_the_numerical_price_is_never_above_renyis_and_replacing_costs_more(events: list[Event], budget: float) -> None:
    price = epsilon(events, delta=budget)
    assert 0.0 <= price <= epsilon(events, delta=budget, accountant="rdp")
    assert epsilon(events, delta=budget, relation="replace_one") * SLACK + 1e-6 >= price


@settings(max_examples=12, deadline=None)
@given(one=sampled, other=st.one_of(sampled, others))
def test_together_costs_at_least_the_dearer_and_at_most_the_sum_at_half_the_delta(
    one: SampledGaussian, other: Event
) -> None:
    together = epsilon([one, other], delta=1e-5)
    apart = [epsilon([event], delta=1e-5) for event in (one, other)]
    halves = [epsilon([event], delta=5e-6) for event in (one, other)]
    assert max(apart) <= together * SLACK + 1e-6
    assert together <= sum(halves) * SLACK + 1e-6
    assert together == epsilon([other, one], delta=1e-5)


@settings(max_examples=15, deadline=None)
@given(event=sampled, wanted=st.floats(0.05, 8.0))
def test_delta_and_epsilon_undo_each_other(event: SampledGaussian, wanted: float) -> None:
    for accountant in ACCOUNTANTS:
        share = delta([event], epsilon=wanted, accountant=accountant)
        if 1e-12 < share < 0.1:
            assert epsilon([event], delta=share, accountant=accountant) == pytest.approx(wanted, rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("relation", RELATIONS)
def test_full_batches_cost_what_balle_and_wang_say(relation: Relation) -> None:
    effect = (2.0 if relation == "replace_one" else 1.0) * math.sqrt(50) / 5.0
    exact = gaussian_epsilon(effect, 1e-5)
    for event in (
        Gaussian(noise_multiplier=5.0, steps=50),
        SampledGaussian(q=1.0, noise_multiplier=5.0, steps=50),
        SampledGaussian(q=1.0, noise_multiplier=5.0, steps=50, sampler="none"),
    ):
        assert exact <= epsilon([event], delta=1e-5, relation=relation) <= exact * (1 + 1e-9)
        assert delta([event], epsilon=exact, relation=relation) == pytest.approx(1e-5, rel=1e-6)


def test_one_laplace_number_is_pure_and_twice_as_dear_to_replace() -> None:
    event = Laplace(scale=2.0)
    assert epsilon([event], delta=1e-12) == pytest.approx(0.5, abs=1e-3)
    assert epsilon([event], delta=1e-12, relation="replace_one") == pytest.approx(1.0, abs=1e-3)
    assert epsilon([event], delta=1e-12, accountant="rdp") >= 0.5


def test_whole_number_noise_is_priced_by_its_renyi_bound_alone_and_among_others() -> None:
    skellam = Skellam(variance=1e4, l1=50.0, l2=10.0, steps=3)
    discrete = DiscreteGaussian(variance=1e4, l1=50.0, l2=10.0, dimension=25, parties=4, steps=3)
    smooth = Gaussian(noise_multiplier=10.0, steps=3)
    least = epsilon([smooth], delta=1e-5)
    for event in (skellam, discrete):
        assert epsilon([event], delta=1e-5) == epsilon([event], delta=1e-5, accountant="rdp") >= least
        assert epsilon([event], delta=1e-5) == pytest.approx(epsilon([smooth], delta=1e-5, accountant="rdp"), rel=0.02)
        assert epsilon([event, smooth], delta=1e-5) > epsilon([event], delta=1e-5)
        assert epsilon([event], delta=1e-5, relation="replace_one") > 1.9 * epsilon([event], delta=1e-5)


@pytest.mark.parametrize("sampler", ["shuffle", "fixed", "b_min_sep", "", "Poisson"])
@pytest.mark.parametrize("relation", RELATIONS)
def test_shuffled_or_fixed_batches_are_never_billed_as_poisson_samples(sampler: str, relation: Relation) -> None:
    event = SampledGaussian(q=0.1, noise_multiplier=1.0, steps=10, sampler=sampler)
    for accountant in ACCOUNTANTS:
        with pytest.raises(Misconfigured, match="E105"):
            epsilon([event], delta=1e-5, accountant=accountant, relation=relation)
        with pytest.raises(Misconfigured, match="E105"):
            delta([event], epsilon=1.0, accountant=accountant, relation=relation)


def test_batches_without_a_sampler_that_earns_it_are_billed_as_full_ones() -> None:
    with pytest.raises(Misconfigured, match="E105"):
        epsilon([SampledGaussian(q=0.1, noise_multiplier=1.0, steps=10, sampler="none")], delta=1e-5)
    full = epsilon([SampledGaussian(q=1.0, noise_multiplier=1.0, steps=10, sampler="none")], delta=1e-5)
    assert full > 3 * epsilon([SampledGaussian(q=0.1, noise_multiplier=1.0, steps=10)], delta=1e-5)


def test_nothing_outside_the_table_is_priced() -> None:
    replaced = SampledGaussian(q=0.1, noise_multiplier=1.0, steps=10)
    for accountant in ("rdp", "prv"):
        with pytest.raises(Misconfigured, match="E105.*'pld' knows it"):
            epsilon([replaced], delta=1e-5, accountant=accountant, relation="replace_one")
    with pytest.raises(Misconfigured, match="E105"):
        epsilon([Laplace(scale=1.0)], delta=1e-5, accountant="prv")
    with pytest.raises(Misconfigured, match="E105"):
        delta([replaced], epsilon=1.0, accountant="prv")
    assert all(accountants[0] == "pld" for accountants in ALLOWED.values())


@pytest.mark.parametrize("relation", ["zero_out", "", "add-remove"])
def test_an_unknown_relation_is_refused(relation: str) -> None:
    with pytest.raises(Misconfigured, match="E104"):
        epsilon([Gaussian(noise_multiplier=1.0)], delta=1e-5, relation=relation)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    "make",
    [
        lambda: SampledGaussian(q=0.0, noise_multiplier=1.0, steps=1),
        lambda: SampledGaussian(q=1.1, noise_multiplier=1.0, steps=1),
        lambda: SampledGaussian(q=0.1, noise_multiplier=math.nan, steps=1),
        lambda: SampledGaussian(q=0.1, noise_multiplier=-1.0, steps=1),
        lambda: Gaussian(noise_multiplier=1.0, steps=-1),
        lambda: Laplace(scale=0.0),
        lambda: Skellam(variance=0.0, l1=1.0, l2=1.0),
        lambda: Skellam(variance=9.0, l1=1.0, l2=2.0),
        lambda: DiscreteGaussian(variance=9.0, l1=1.0, l2=1.0, dimension=0),
        lambda: DiscreteGaussian(variance=9.0, l1=1.0, l2=1.0, dimension=1, parties=0),
        lambda: epsilon([], delta=0.0),
        lambda: delta([], epsilon=-1.0),
        lambda: delta([], epsilon=math.nan),
    ],
)  # fmt: skip
def test_values_out_of_range_are_named(make: object) -> None:
    with pytest.raises(Misconfigured, match="E103"):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("limit", "q", "steps"), [(0.5, 0.02, 200), (3.0, 32 / 68, 40), (8.0, 1.0, 30), (1.0, 1e-4, 9)]
)
@pytest.mark.parametrize("relation", RELATIONS)
def test_calibrated_noise_keeps_the_limit_and_is_nearly_the_least(
    limit: float, q: float, steps: int, relation: Relation
) -> None:
    def price(noise: float) -> float:
        return epsilon([SampledGaussian(q=q, noise_multiplier=noise, steps=steps)], delta=1e-5, relation=relation)

    noise = calibrate(epsilon=limit, delta=1e-5, q=q, steps=steps, relation=relation)
    assert price(noise) <= limit < price(noise / 1.003)
    if relation == "add_remove":
        assert noise <= calibrate(epsilon=limit, delta=1e-5, q=q, steps=steps, accountant="rdp")


def test_a_ledger_of_the_first_version_still_verifies() -> None:
    """Golden: a charge's facts are hashed, so their names and order are part of every ledger that exists."""
    charge = Charge(
        dataset="ward-7", noise_multiplier=2.0, sampling_rate=0.1, clip=1.0, steps=10, delta=1e-5,
        job="job-a", run="run-1", round=1, model="sha256:0", randomness="operating system generator",
    )  # fmt: skip
    facts = {"charge": charge.facts(), "time": 1.5}
    row, _ = linked(genesis(), state=State.RESERVED, dataset="ward-7", facts=facts, charge=charge)
    assert row[4] == GOLDEN
    (entry,) = verified([row], genesis(), place="here")
    assert entry.charge == charge
    assert charge.event() == SampledGaussian(q=0.1, noise_multiplier=2.0, steps=10)
