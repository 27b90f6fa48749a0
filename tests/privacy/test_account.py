"""Tests of hedgerow.privacy.account: what counts, and a price computed once for sites that are charged alike."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.privacy import Charge, SampledGaussian, epsilon
from hedgerow.privacy import account as module
from hedgerow.privacy.account import Account

CHARGE = Charge(
    dataset="ward-7", noise_multiplier=2.0, sampling_rate=0.1, clip=1.0, steps=10, delta=1e-5,
    job="job-a", run="run-1", round=1, model="sha256:0", randomness="operating system generator",
)  # fmt: skip

charges = st.builds(
    lambda noise, steps, delta: replace(CHARGE, noise_multiplier=noise, steps=steps, delta=delta),
    st.sampled_from([2.0, 3.0]),
    st.integers(1, 9),
    st.sampled_from([1e-5, 1e-3]),
)


@settings(deadline=None)
@given(st.lists(charges, max_size=5), st.lists(st.integers(0, 4), max_size=3, unique=True), charges)
def test_an_account_costs_what_its_charges_cost_together(
    counted: list[Charge], taken_back: list[int], extra: Charge
) -> None:
    account = Account()
    for charge in counted:
        account.add(charge, +1)
    for i in (i for i in taken_back if i < len(counted)):
        account.add(counted[i], -1)
    left = [charge for i, charge in enumerate(counted) if i not in taken_back]
    assert account.price(1e-5, "rdp") == pytest.approx(epsilon([one.event() for one in left], 1e-5, "rdp"), rel=1e-12)
    together = epsilon([one.event() for one in [*left, extra]], 1e-5, "rdp")
    assert account.price(1e-5, "rdp", extra) == pytest.approx(together, rel=1e-12)
    assert account.strictest(extra) == min(one.delta for one in [*left, extra])
    spent = account.spent(1e-5, "rdp")
    assert (spent.events, spent.steps) == (len(left), sum(one.steps for one in left))


def test_a_copy_leaves_the_account_as_it_was() -> None:
    account = Account()
    account.add(CHARGE, +1)
    before = account.spent(1e-5, "rdp")
    account.copy().add(CHARGE, +1)
    assert account.spent(1e-5, "rdp") == before


def test_sites_that_are_charged_alike_are_priced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    priced: list[Sequence[SampledGaussian]] = []

    def counting(events: Sequence[SampledGaussian], delta: float, accountant: str, relation: str) -> float:
        priced.append(events)
        return epsilon(events, delta, "rdp")

    monkeypatch.setattr(module, "epsilon", counting)
    module._price.cache_clear()
    accounts = [Account() for _ in range(50)]
    for number, account in enumerate(accounts):
        account.add(replace(CHARGE, dataset=f"ward-{number}", steps=10 + number % 2), +1)
        account.price(1e-5, "rdp")
        account.price(1e-5, "rdp", CHARGE)
    assert len(priced) == 4
