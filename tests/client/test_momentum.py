from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.client.momentum import Momentum, MomentumStore
from hedgerow.errors import Tampered


def updates(rounds: int, sites: int = 3, size: int = 5) -> list[np.ndarray]:
    rng = np.random.default_rng(rounds)
    return [rng.standard_normal((sites, size)).astype(np.float32) for _ in range(rounds)]


@given(beta=st.floats(0, 0.99), rounds=st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_a_site_sends_the_weighted_average_of_its_updates(beta: float, rounds: int) -> None:
    given_ = updates(rounds)
    memory = Momentum.none(3, 5)
    for update in given_:
        memory, sent = memory.after(update, beta=beta)
    weights = np.array([beta ** (rounds - 1 - k) for k in range(rounds)])
    expected = np.tensordot(weights / weights.sum(), np.stack(given_), axes=1)
    np.testing.assert_allclose(sent, expected, atol=2e-4)
    assert sent.dtype == memory.average.dtype == np.float32


def test_without_momentum_the_update_is_sent_bit_for_bit() -> None:
    memory = Momentum.none(3, 5)
    for update in updates(4):
        memory, sent = memory.after(update, beta=0.0)
        assert np.array_equal(sent, update)


def test_many_sites_at_once_are_each_what_they_are_alone() -> None:
    together = Momentum.none(3, 5)
    alone = [Momentum.none(1, 5) for _ in range(3)]
    for update in updates(6):
        together, sent = together.after(update, beta=0.9)
        for site in range(3):
            alone[site], own = alone[site].after(update[site : site + 1], beta=0.9)
            assert np.array_equal(own[0], sent[site])


def test_a_round_that_is_asked_again_starts_from_what_was_before_it(tmp_path: Path) -> None:
    store = MomentumStore(tmp_path / "run", durable=False)
    memory = Momentum.none(3, 5)
    sent = []
    for number, update in enumerate(updates(6), 1):
        memory, one = store.before(number, 3, 5).after(update, beta=0.9)
        store.save(number, memory)
        sent.append(one)
    again, one = MomentumStore(tmp_path / "run", durable=False).before(5, 3, 5).after(updates(6)[4], beta=0.9)
    assert np.array_equal(one, sent[4])
    store.save(5, again)
    assert np.array_equal(store.before(6, 3, 5).average, again.average)
    left = {path.stem for path in (tmp_path / "run").iterdir()}
    assert left == {"4", "5"}  # older ones and the one taken back are gone


def test_a_site_that_is_seldom_asked_keeps_what_it_had(tmp_path: Path) -> None:
    store = MomentumStore(tmp_path, durable=False)
    for number, update in zip([3, 50], updates(2), strict=True):
        memory, _ = store.before(number, 3, 5).after(update, beta=0.9)
        store.save(number, memory)
    assert store.before(50, 3, 5).steps.tolist() == [1, 1, 1]


def test_a_memory_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    store = MomentumStore(tmp_path, durable=False)
    store.save(1, Momentum.none(3, 5))
    with pytest.raises(Tampered, match="E401"):
        store.before(2, 3, 6)
    (tmp_path / "1.safetensors").write_bytes(b"torn")
    with pytest.raises(Tampered, match="E401"):
        store.before(2, 3, 5)


def test_a_site_keeps_its_latest_runs_apart_and_only_those(tmp_path: Path) -> None:
    def of(run: str, site: str = "a") -> MomentumStore:
        return MomentumStore.of_site(tmp_path, site=site, run=run, durable=False)

    for number, run in enumerate(["../../etc", "second", "third", "fourth", "fifth"], 1):
        memory, _ = of(run).before(1, 1, 5).after(np.full((1, 5), number, np.float32), beta=0.5)
        of(run).save(1, memory)
    assert {path.parts[len(tmp_path.parts)] for path in tmp_path.rglob("*")} == {"momentum"}
    assert of("fifth").before(2, 1, 5).average[0, 0] == 2.5
    assert of("second").before(2, 1, 5).average[0, 0] == 1.0
    assert of("../../etc").before(2, 1, 5).steps.tolist() == [0]
    assert of("fifth", site="b").before(2, 1, 5).steps.tolist() == [0]


def test_rounds_of_any_number_never_fill_the_disk(tmp_path: Path) -> None:
    store = MomentumStore(tmp_path, durable=False)
    for number in range(-20, 5):
        memory, _ = store.before(number, 3, 5).after(np.ones((3, 5), np.float32), beta=0.9)
        store.save(number, memory)
    assert {path.stem for path in tmp_path.iterdir()} == {"2", "3", "4"}
    assert store.before(5, 3, 5).steps.tolist() == [25] * 3
