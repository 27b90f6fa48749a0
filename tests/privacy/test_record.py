import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from hedgerow.errors import Misconfigured
from hedgerow.privacy import (
    OsRandomness,
    Randomness,
    RecordPlan,
    SimulatedRandomness,
    epsilon,
    make_private_model,
    plan_record_dp,
    private_steps,
)
from hedgerow.privacy.dpsgd import RecordOptimizer

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # as dpsgd.py does outside pytest

PLAN = RecordPlan(
    records=12,
    expected_batch=4,
    sampling_rate=4 / 12,
    steps_per_round=1,
    rounds=1,
    clip=0.5,
    epsilon=1.0,
    delta=1e-3,
    accountant="rdp",
    noise_multiplier=0.0,
    planned_epsilon=1.0,
)


class Chosen:
    """Takes the given records; noise is seeded."""

    description = "chosen by the test"

    def __init__(self, *taken: int, seed: int = 1) -> None:
        self._taken = list(taken)
        self._noise = SimulatedRandomness(seed)

    def poisson_mask(self, records: int, rate: float) -> NDArray[np.bool_]:
        return np.isin(np.arange(records), self._taken)

    def gaussian(self, shape: Sequence[int], std: float, dtype: torch.dtype | None = None) -> torch.Tensor:
        return self._noise.gaussian(shape, std, dtype)

    def shuffled(self, n: int) -> NDArray[np.int64]:
        return np.arange(n)


def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(logits, targets, reduction="none")


def plain(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=1.0)


def mlp(*extra: nn.Module) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), *extra, nn.Linear(8, 3))


def data(records: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(records, 6, generator=generator) * 3, torch.randint(0, 3, (records,), generator=generator)


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def moved(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    randomness: Randomness,
    plan: RecordPlan = PLAN,
    *,
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = plain,
    proximal: float = 0.0,
    batch_limit: int | None = None,
) -> torch.Tensor:
    """How far training moves the parameters, against the gradient, as one vector (lr 1: the released step)."""
    trained = copy.deepcopy(model)
    private_steps(
        trained, x, y, plan=plan, loss=loss, make_optimizer=optimizer, randomness=randomness,
        proximal=proximal, batch_limit=batch_limit,
    )  # fmt: skip
    return flat(model) - flat(trained)


def clipped_sum(model: nn.Module, x: torch.Tensor, y: torch.Tensor, taken: Iterable[int], clip: float) -> torch.Tensor:
    total = torch.zeros_like(flat(model))
    for i in taken:
        gradients = torch.autograd.grad(loss(model(x[i : i + 1]), y[i : i + 1]).sum(), list(model.parameters()))
        g = torch.cat([part.flatten() for part in gradients])
        total += g * min(1.0, clip / float(g.norm()))
    return total


@pytest.mark.parametrize("taken", [(0,), (1, 5), range(12)])
@pytest.mark.parametrize("clip", [0.05, 0.5, 100.0])
def test_a_step_without_noise_is_the_clipped_sum_over_the_expected_batch(taken: Sequence[int], clip: float) -> None:
    model, (x, y) = mlp(), data()
    step = moved(model, x, y, Chosen(*taken), replace(PLAN, clip=clip))
    torch.testing.assert_close(step, clipped_sum(model, x, y, taken, clip) / 4, atol=1e-5, rtol=0)


def test_a_step_equals_opacus_own_optimizer_on_the_same_batch() -> None:
    from opacus.grad_sample import GradSampleModule  # type: ignore[import-untyped]  # Opacus ships no types
    from opacus.optimizers import DPOptimizer  # type: ignore[import-untyped]  # Opacus ships no types

    model, (x, y), taken = mlp(), data(), [0, 3, 4, 9]
    theirs = GradSampleModule(copy.deepcopy(model), loss_reduction="sum")
    optimizer = DPOptimizer(
        plain(theirs.parameters()), noise_multiplier=0.0, max_grad_norm=PLAN.clip, expected_batch_size=4
    )
    torch.autograd.backward(loss(theirs(x[taken]), y[taken]).sum())
    optimizer.step()
    step = flat(model) - flat(theirs)
    torch.testing.assert_close(moved(model, x, y, Chosen(*taken)), step, atol=1e-6, rtol=0)


@settings(max_examples=20, deadline=None)
@given(records=st.integers(1, 300), share=st.floats(0.0, 1.0))
def test_the_rate_is_exactly_batch_over_records_for_any_size(records: int, share: float) -> None:
    batch = max(1, round(share * records))
    plan = plan_record_dp(records=records, batch=batch, epochs=1e-9, rounds=1, epsilon=1e9, delta=1e-4, clip=1.0)
    assert plan.sampling_rate == batch / records
    assert plan.expected_batch == batch
    assert plan.steps_per_round == 1


@pytest.mark.parametrize(("records", "batch", "steps"), [(49, 1, 49), (180, 32, 6), (93, 1, 93), (5, 64, 1)])
def test_an_epoch_has_as_many_steps_as_batches_fit(records: int, batch: int, steps: int) -> None:
    plan = plan_record_dp(records=records, batch=batch, epochs=1, rounds=2, epsilon=5.0, delta=1e-3, clip=1.0)
    assert plan.steps_per_round == steps
    assert plan.expected_batch == min(batch, records) and plan.sampling_rate == min(batch, records) / records


def test_the_denominator_is_the_expected_batch_not_the_one_that_came() -> None:
    model, (x, y) = mlp(), data(49)
    plan = replace(PLAN, records=49, expected_batch=1, sampling_rate=1 / 49, clip=1e-3)
    for taken in ([7], [7, 8, 20]):
        step = moved(model, x, y, Chosen(*taken), plan)
        torch.testing.assert_close(step, clipped_sum(model, x, y, taken, 1e-3), atol=1e-6, rtol=0)


def test_the_plan_pays_for_the_whole_job_and_keeps_its_limit() -> None:
    plan = plan_record_dp(records=180, batch=32, epochs=2, rounds=10, epsilon=3.0, delta=1e-4, clip=1.0)
    rounds = [plan.event() for _ in range(10)]
    assert epsilon(rounds, 1e-4) == plan.planned_epsilon <= 3.0
    assert plan.planned_epsilon > 2.99
    assert epsilon(rounds + [plan.event()], 1e-4) > 3.0


def test_sites_that_cannot_be_protected_are_refused_before_anything_runs() -> None:
    def plan(**changes: float) -> RecordPlan:
        asked = {"records": 100, "batch": 10, "epochs": 1, "rounds": 1, "epsilon": 1.0, "delta": 1e-3, "clip": 1.0}
        return plan_record_dp(**{**asked, **changes})  # type: ignore[arg-type]  # wrong on purpose

    for code, changes in (
        ("E125", {"records": 0}),
        ("E132", {"delta": 0.01}),
        ("E132", {"records": 500_000, "delta": 1e-5}),
        ("E131", {"epsilon": 1e-9, "delta": 1e-9}),
        ("E103", {"batch": 0}),
        ("E103", {"clip": math.nan}),
        ("E103", {"rounds": 0}),
    ):
        with pytest.raises(Misconfigured, match=code):
            plan(**changes)


def test_batches_are_poisson_samples_not_fixed_sizes() -> None:
    sizes: list[int] = []

    def counting(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        sizes.append(len(targets))
        return loss(logits, targets)

    steps, x, y = 300, *data(40)
    plan = replace(PLAN, records=40, expected_batch=10, sampling_rate=0.25, steps_per_round=steps)
    model = nn.Linear(6, 3)
    private_steps(model, x, y, plan=plan, loss=counting, make_optimizer=plain, randomness=SimulatedRandomness(11))
    assert abs(np.mean(sizes) - 10) < 5 * math.sqrt(7.5 / steps)
    assert abs(np.var(sizes) / 7.5 - 1) < 5 * math.sqrt(2 / steps)


def test_an_empty_batch_still_releases_noise() -> None:
    model, (x, y) = mlp(), data()
    noisy = moved(model, x, y, Chosen(), replace(PLAN, noise_multiplier=2.0))
    noise = SimulatedRandomness(1).gaussian((len(noisy),), 2.0 * PLAN.clip, torch.float64) / 4
    torch.testing.assert_close(noisy, noise.float(), atol=1e-6, rtol=0)
    assert moved(model, x, y, Chosen()).abs().max() == 0


@pytest.mark.parametrize("source", [SimulatedRandomness(2, 9), OsRandomness()])
def test_released_noise_has_the_promised_size(source: Randomness) -> None:
    # Zero inputs and a target that is already certain: the gradient is zero and only noise is released.
    model = nn.Linear(3000, 3, bias=False)
    plan = replace(PLAN, noise_multiplier=1.7, clip=0.4)
    noise = moved(model, torch.zeros(12, 3000), torch.zeros(12, dtype=torch.long), source, plan).double()
    sizes = float(((noise * 4 / (1.7 * 0.4)) ** 2).sum())
    assert abs(sizes - 9000) / math.sqrt(2 * 9000) < 7  # a 10 % error in the noise is 14 standard deviations off


def test_noise_differs_between_steps_rounds_and_sites() -> None:
    model, (x, y) = nn.Linear(6, 3000), data()
    plan = replace(PLAN, noise_multiplier=1.0)
    noise = [moved(model, x, y, SimulatedRandomness(1, *path), plan) for path in ((0, 0), (0, 1), (1, 0))]
    noise += [moved(model, x, y, OsRandomness(), plan) for _ in range(2)]
    x *= 0
    correlation = np.corrcoef(np.stack([n.numpy() for n in noise])) - np.eye(5)
    assert abs(correlation).max() * math.sqrt(noise[0].numel()) < 7


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf, 1e38, 3e30])
def test_a_record_with_a_non_finite_gradient_weighs_nothing_and_spoils_nobody(poison: float) -> None:
    model, (x, y) = mlp(), data()
    x[5] = poison
    step = moved(model, x, y, Chosen(2, 5, 8))
    torch.testing.assert_close(step, clipped_sum(model, x, y, (2, 8), PLAN.clip) / 4, atol=1e-5, rtol=0)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(width=32), min_size=6, max_size=6),
    clip=st.sampled_from([1e-3, 0.5, 10.0]),
)
def test_no_record_whatever_its_values_moves_the_sum_by_more_than_the_clip(values: list[float], clip: float) -> None:
    model, (x, y) = nn.Linear(6, 3), data()
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    x[0] = torch.tensor(values)
    plan = replace(PLAN, clip=clip, expected_batch=1)
    step = moved(model, x, y, Chosen(0), plan).double()
    assert bool(step.isfinite().all())
    assert float(step.norm()) <= clip * (1 + 1e-6)


@pytest.mark.parametrize("limit", [1, 5, 12, 100])
def test_splitting_a_batch_to_save_memory_changes_nothing(limit: int) -> None:
    model, (x, y) = mlp(), data()
    plan = replace(PLAN, noise_multiplier=1.0, steps_per_round=4)
    whole = moved(model, x, y, SimulatedRandomness(4), plan)
    split = moved(model, x, y, SimulatedRandomness(4), plan, batch_limit=limit)
    torch.testing.assert_close(split, whole, atol=1e-5, rtol=0)


def test_the_same_seed_gives_the_same_bytes_whatever_torchs_global_state() -> None:
    model, (x, y) = mlp(nn.Dropout(0.5)), data()
    plan = replace(PLAN, noise_multiplier=1.0, steps_per_round=5)
    first = moved(model, x, y, SimulatedRandomness(4), plan)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    second = moved(model, x, y, SimulatedRandomness(4), plan)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, second)
    assert not torch.equal(first, moved(model, x, y, SimulatedRandomness(5), plan))


def test_the_proximal_pull_comes_after_clip_and_noise() -> None:
    model, (x, y), rate = mlp(), data(), 0.5

    def half(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=rate)

    def run(steps: int, proximal: float) -> torch.Tensor:
        plan = replace(PLAN, noise_multiplier=1.0, steps_per_round=steps)
        return moved(model, x, y, Chosen(), plan, optimizer=half, proximal=proximal)

    first, free = run(1, 0.0), run(2, 0.0)
    torch.testing.assert_close(run(1, 7.0), first)
    torch.testing.assert_close(run(2, 7.0), free - rate * 7.0 * first, atol=1e-5, rtol=1e-5)


def test_the_callers_model_carries_no_trace_afterwards() -> None:
    model, (x, y) = mlp(nn.Dropout(0.5)), data()
    model[2].eval()
    before = [(set(vars(m)), m.training, m._is_full_backward_hook) for m in model.modules()]
    first, *_, last = model.parameters()
    first.grad = kept = torch.ones_like(first)
    private_steps(model, x, y, plan=PLAN, loss=loss, make_optimizer=plain, randomness=Chosen(1, 2))
    assert [(set(vars(m)), m.training, m._is_full_backward_hook) for m in model.modules()] == before
    assert all(not m._forward_hooks and not m._backward_hooks for m in model.modules())
    assert all(not vars(p) for p in model.parameters())
    assert first.grad is kept and last.grad is None


class Remembers(nn.Module):
    """Keeps a running mean of the inputs, as BatchNorm does, but in a layer nobody knows."""

    mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(dim=0)
        return x


class Tied(nn.Module):
    """Uses a layer's weight without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.inner.weight)


def averaged(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(logits, targets)


def test_a_model_whose_layers_mix_records_is_not_trained() -> None:
    model, (x, y) = mlp(nn.BatchNorm1d(8)), data()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(Misconfigured, match="E130"):
        private_steps(model, x, y, plan=PLAN, loss=loss, make_optimizer=plain, randomness=Chosen(1))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("model", "words"), [(mlp(Remembers()), "2.mean"), (Tied(), "outside its layer")])
def test_what_would_leave_without_noise_is_refused_and_undone(model: nn.Module, words: str) -> None:
    before, (x, y) = copy.deepcopy(model.state_dict()), data()
    with pytest.raises(Misconfigured, match=words) as caught:
        private_steps(model, x, y, plan=PLAN, loss=loss, make_optimizer=plain, randomness=Chosen(1, 2))
    assert caught.value.code == "E130"
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(not vars(p) for p in model.parameters())


class Folding(nn.Module):
    """Gives its layer other rows than records: four a record, time before records, or one record at a time."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts: torch.Tensor = x.reshape(len(x), 4, 4)
        if self.how == "folded":
            rows: torch.Tensor = self.layer(parts.reshape(-1, 4))
            return rows.reshape(len(x), 4, 3).sum(dim=1)
        if self.how == "time first":
            first: torch.Tensor = self.layer(parts.transpose(0, 1))
            return first.sum(dim=0)
        if self.how == "one by one":
            return torch.cat([self.layer(parts[i : i + 1]).sum(dim=1) for i in range(len(x))])
        kept: torch.Tensor = self.layer(parts)
        return kept.sum(dim=1)


@pytest.mark.parametrize("how", ["folded", "time first", "one by one"])
def test_a_layer_that_sees_other_rows_than_records_is_refused_for_a_clipped_row_is_no_clipped_record(how: str) -> None:
    x, y = torch.randn(12, 16, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3

    def train(model: nn.Module) -> None:
        private_steps(model, x, y, plan=PLAN, loss=loss, make_optimizer=plain, randomness=Chosen(0, 3, 7))

    model = Folding(how)
    before = [value.clone() for value in model.parameters()]
    with pytest.raises(Misconfigured, match="one row a record") as caught:
        train(model)
    assert caught.value.code == "E130"
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    train(Folding("kept"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_one_record_of_a_large_batch_weighs_no_more_in_half_precision(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 600
    plan = replace(PLAN, records=n, expected_batch=n, sampling_rate=1.0)
    sums: list[torch.Tensor] = []

    def seen(optimizer: RecordOptimizer) -> None:
        sums.append(torch.cat([p.summed_grad.double().flatten() for p in optimizer.params]))
        add_noise(optimizer)

    add_noise = RecordOptimizer.add_noise
    monkeypatch.setattr(RecordOptimizer, "add_noise", seen)
    x, y = data(1)
    for taken in (range(n), range(1, n)):
        model = nn.Linear(6, 3).to(dtype)
        with torch.no_grad():
            for value in model.parameters():
                value.fill_(0.1)
        private_steps(
            model, x.expand(n, -1).to(dtype), y.expand(n), plan=plan, loss=loss, make_optimizer=plain,
            randomness=Chosen(*taken),
        )  # fmt: skip
    assert float((sums[0] - sums[1]).norm()) <= plan.clip * (1 + 1e-2)


def test_a_loss_that_averages_over_records_is_refused() -> None:
    model, (x, y) = mlp(), data()
    with pytest.raises(Misconfigured, match="E102"):
        private_steps(model, x, y, plan=PLAN, loss=averaged, make_optimizer=plain, randomness=Chosen(1, 2))


def test_data_of_another_size_than_planned_is_refused() -> None:
    with pytest.raises(Misconfigured, match="E126"):
        moved(mlp(), *data(11), Chosen(1))


def test_a_repaired_model_is_clipped_record_by_record() -> None:
    model, (x, y) = make_private_model(mlp(nn.BatchNorm1d(8))), data()
    step = moved(model, x, y, Chosen(1, 5))
    torch.testing.assert_close(step, clipped_sum(model, x, y, (1, 5), PLAN.clip) / 4, atol=1e-5, rtol=0)


def test_frozen_layers_stay_and_unused_layers_get_noise_only() -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.unused, self.head = nn.Linear(6, 8), nn.Linear(4, 4), nn.Linear(8, 3)
            self.body.requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.body(x).relu())
            return out

    model, (x, y) = Partly(), data()
    trained = copy.deepcopy(model)
    plan = replace(PLAN, noise_multiplier=1.0)
    private_steps(trained, x, y, plan=plan, loss=loss, make_optimizer=plain, randomness=Chosen(1, 2))
    assert torch.equal(trained.body.weight, model.body.weight)
    assert not torch.equal(trained.unused.weight, model.unused.weight)
    assert not torch.equal(trained.head.weight, model.head.weight)


def test_a_convolutional_model_with_shared_use_of_a_layer_is_clipped_over_both_uses() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.square, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.square(self.square(x).tanh()).tanh())
            return out

    model, (x, y) = Twice(), data()
    step = moved(model, x, y, Chosen(1, 5, 6))
    torch.testing.assert_close(step, clipped_sum(model, x, y, (1, 5, 6), PLAN.clip) / 4, atol=1e-5, rtol=0)
