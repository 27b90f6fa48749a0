"""A round's sites in, their rows out: whatever the workers, the chunks and the memory."""

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.scenario import Scenario
from hedgerow.simulations.cohort.sizing import Footprint
from hedgerow.simulations.cohort.trainer import CohortTrainer
from hedgerow.simulations.sites import prepare
from hedgerow.task import Data, PooledTask, Split
from hedgerow.update import Layout

Make = Callable[..., Any]
SIZES = (13, 7, 0, 5, 1, 11, 40, 2, 3, 17)


def chunked(monkeypatch: pytest.MonkeyPatch, clients: int) -> None:
    """Chunks of as many clients, whatever is best."""
    inner = Footprint.chunk

    def chunk(self: Footprint, *given: Any) -> tuple[int, int]:
        return clients, inner(self, *given)[1]

    monkeypatch.setattr(Footprint, "chunk", chunk)


@pytest.mark.parametrize("path", ["layers", "vmap", "one-by-one"])
@pytest.mark.parametrize("private", [False, True])
def test_the_bytes_do_not_depend_on_the_workers(
    cohort: Make, gated: Any, monkeypatch: pytest.MonkeyPatch, path: str, private: bool
) -> None:
    chunked(monkeypatch, 3)
    budget = {"privacy__unit": "record", "privacy__epsilon": 8.0, "privacy__delta": 1e-3} if private else {}
    sites = cohort(gated if path == "vmap" else "relu", SIZES * 4, local__momentum=0.9, **budget)
    results = [sites.train(path, workers=workers)[0] for workers in (1, 2, 5, 2)]
    assert all((rows == results[0]).all() for rows in results[1:])


@pytest.mark.parametrize("path", ["layers", "vmap", "one-by-one"])
@pytest.mark.parametrize("model", ["relu", "convolution"])
def test_the_chunk_s_size_changes_no_more_than_rounding(
    cohort: Make, monkeypatch: pytest.MonkeyPatch, path: str, model: str
) -> None:
    results = []
    for clients in (1, 2, 3, 100):
        chunked(monkeypatch, clients)
        results.append(cohort(model, SIZES).train(path)[0])
    sites = cohort(model, SIZES)
    assert max(sites.far(rows, results[0]) for rows in results[1:]) < 1e-5


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.integers(0, len(SIZES) - 1), unique=True, min_size=1), round=st.integers(1, 3))
def test_an_update_depends_on_the_site_and_the_round_not_on_who_else_trains(
    cohort: Make, places: list[int], round: int
) -> None:
    sites = cohort("relu", SIZES)
    rows, failed = sites.train("layers", places, round=round)
    everyone, _ = sites.train("layers", round=round)
    assert failed == ({2: "E125"} if 2 in places else {})
    assert sites.far(rows, everyone[places]) < 1e-5
    again, _ = sites.train("layers", places[::-1], round=round)
    assert (again[::-1] == rows).all() or sites.far(again[::-1], rows) < 1e-6


def test_a_site_s_updates_differ_by_round_and_seed_alone(cohort: Make) -> None:
    sites = cohort("relu", SIZES)
    one, two = sites.train("layers", round=1)[0], sites.train("layers", round=2)[0]
    assert (one[0] != two[0]).any() and (one == sites.train("layers", round=1)[0]).all()


@pytest.mark.parametrize("path", ["layers", "vmap", "one-by-one"])
def test_a_site_with_an_impossible_label_fails_alone(cohort: Make, path: str) -> None:
    sites = cohort("relu", (22, 20, 23, 41))
    clean, _ = sites.train("one-by-one")
    sites.task.parts[2][1][7] = 3
    rows, failed = sites.train(path)
    assert failed == {2: "E308"} and not rows[2].any()
    others = [0, 1, 3]
    assert sites.far(rows[others], clean[others]) < 1e-5


def test_a_site_without_records_has_a_code_and_no_update(cohort: Make) -> None:
    rows, failed = cohort("relu", (0, 4, 0)).train()
    assert failed == {0: "E125", 2: "E125"} and not rows[[0, 2]].any() and rows[1].any()
    rows, failed = cohort("relu", (0, 0)).train()
    assert failed == {0: "E125", 1: "E125"} and rows.shape == (2, 403)


@pytest.mark.parametrize("memory", [None, 10**9])
def test_a_memory_limit_changes_no_byte(cohort: Make, memory: int | None) -> None:
    sites = cohort("relu", SIZES)
    rows, _ = sites.train("layers", memory=memory, workers=3)
    assert (rows == sites.train("layers")[0]).all()


def test_too_little_memory_is_told_and_less_of_it_lets_fewer_work(cohort: Make) -> None:
    sites = cohort("relu", SIZES)
    with pytest.raises(Misconfigured) as caught:
        sites.trainer(memory=1000)
    assert (caught.value.code, caught.value.place) == ("E105", "memory")
    low, high = 1000, 10**10
    while high - low > 1000:  # the least that is enough
        middle = (low + high) // 2
        try:
            sites.trainer(memory=middle).close()
            high = middle
        except Misconfigured:
            low = middle
    one, many = sites.trainer(memory=high, workers=8), sites.trainer(memory=10 * high, workers=8)
    assert 1 == one.workers < many.workers <= 8


def test_there_must_be_a_worker(cohort: Make) -> None:
    with pytest.raises(Misconfigured) as caught:
        cohort("relu", SIZES).trainer(workers=0)
    assert caught.value.code == "E103"


def test_torch_s_generator_and_the_given_model_stay_as_they_were(cohort: Make) -> None:
    sites = cohort("relu", SIZES)
    trainer = sites.trainer("one-by-one", workers=3)
    model = sites.model.copy()
    torch.manual_seed(4)
    before = torch.get_rng_state()
    trainer.train(sites.model, range(len(SIZES)), round=1)
    assert torch.equal(torch.get_rng_state(), before) and (sites.model == model).all()


class Pool(PooledTask):
    name = "pool"
    labels = ("a", "b")

    def __init__(self, *, backwards: bool = False) -> None:
        x = np.random.default_rng(0).standard_normal((90, 5)).astype(np.float32)
        y = (x[:, 0] > 0).astype(np.int64)
        self.everything = Split(x[::-1], y[::-1]) if backwards else Split(x, y)

    def model(self) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))

    def pool(self) -> Data:
        return Data(self.everything, self.everything.take(np.arange(0)))


def pooled(path: str, scenario: Scenario, task: Pool, *, round: int = 2) -> np.ndarray:
    split, scenario, sites = prepare(task, scenario)
    job = Job.from_flat({"rounds": 3, "local.batch": 4, "privacy.unit": "none", "secure.mode": "off"})
    torch.manual_seed(0)
    model = split.model()
    vector = Layout.of(model).flatten(model)
    trainer = CohortTrainer(job, split, sites, model=vector, seed=scenario.seed, workers=1, path=path)
    assert trainer.chosen.path == path
    rows, failed = trainer.train(vector, range(len(sites)), round=round)
    assert not failed
    return rows


@pytest.mark.parametrize("path", ["layers", "vmap"])
@pytest.mark.parametrize("shift", ["none", "affine:0.7"])
@pytest.mark.parametrize("drift", ["none", "labels:0.4"])
def test_shifted_and_drifting_sites_see_their_own_records(path: str, shift: str, drift: str) -> None:
    scenario = Scenario(sites=6, shift=shift, drift=drift, seed=3)
    expected = pooled("one-by-one", scenario, Pool())
    np.testing.assert_allclose(pooled(path, scenario, Pool()), expected, rtol=1e-4, atol=2e-6)
    if (shift, drift) != ("none", "none"):
        assert np.abs(expected - pooled("one-by-one", Scenario(sites=6, seed=3), Pool())).max() > 1e-3


def test_one_by_one_trains_on_the_shift_that_the_site_s_data_have() -> None:
    from hedgerow.privacy import SimulatedRandomness
    from hedgerow.simulations.cohort.onebyone import train_alone

    scenario = Scenario(sites=4, shift="affine:0.7", seed=3)
    split, _, sites = prepare(Pool(), scenario)
    rows = pooled("one-by-one", scenario, Pool())
    job = Job.from_flat({"rounds": 3, "local.batch": 4, "privacy.unit": "none", "secure.mode": "off"})
    torch.manual_seed(0)
    model = split.model()
    layout = Layout.of(model)
    vector = layout.flatten(model)
    for site, row in zip(sites, rows, strict=True):
        own = split.data(site).train
        alone = train_alone(
            model,
            layout,
            vector,
            torch.from_numpy(own.x),
            torch.from_numpy(own.y),
            settings=job.local,
            loss=split.loss,
            randomness=SimulatedRandomness(3, 4, site.index, 2),
        )
        np.testing.assert_array_equal(row, alone)


def test_records_that_lie_backwards_in_memory_are_read() -> None:
    assert pooled("layers", Scenario(sites=4), Pool(backwards=True)).any()


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def flat(sites: int, rounds: int, cohort: Make) -> float:
    """By how much memory grew after the tenth round, as a share."""
    many = cohort("relu", [3 + n % 11 for n in range(sites)])
    trainer = many.trainer("layers", workers=2)
    for round in range(1, rounds + 1):
        trainer.train(many.model, range(sites), round=round)
        if round == 10:
            gc.collect()
            before = resident()
    gc.collect()
    return resident() / before - 1


def test_memory_is_flat_over_the_rounds(cohort: Make) -> None:
    assert flat(300, 60, cohort) < 0.02


@pytest.mark.slow
def test_memory_is_flat_over_a_thousand_sites_and_a_hundred_rounds(cohort: Make) -> None:
    assert flat(1000, 100, cohort) < 0.02
