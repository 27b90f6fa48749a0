"""The compiled kernel against torch's own loop and against Opacus, and what must not change its results."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_, parameters_to_vector, vector_to_parameters

from hedgerow.errors import Misconfigured
from hedgerow.simulations.cohort import kernel
from hedgerow.simulations.cohort.kernel import Dense, Step, train_dense, train_dense_private

LAYERS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
RECORDS = 40
SIZES = [[5, 5, 3], [1], [], [32, 7, 13], [8, 6, 9, 11, 2]]  # clients × steps: the rows of each step

SHALLOW = Dense(widths=(7, 3), activation="", biases=(True,))
WIDE = Dense(widths=(32, 64, 10), activation="relu", biases=(True, True))
DEEP = Dense(widths=(13, 33, 17, 5), activation="tanh", biases=(True, False, True))
NARROW = Dense(widths=(5, 40, 20, 3), activation="sigmoid", biases=(True, True, False))
NETWORKS = [SHALLOW, WIDE, DEEP, NARROW]

PLAIN = Step(kind="sgd", lr=0.1)
MOMENTUM = Step(kind="sgd", lr=0.1, momentum=0.9)


def torch_model(dense: Dense, flat: Any) -> nn.Sequential:
    """The network in float64, so that differences are the kernel's."""
    layers: list[nn.Module] = []
    for (inputs, outputs), bias in zip(pairwise(dense.widths), dense.biases, strict=True):
        layers += [nn.Linear(inputs, outputs, bias=bias), LAYERS.get(dense.activation, nn.Identity)()]
    model = nn.Sequential(*layers[:-1]).double()
    vector_to_parameters(torch.from_numpy(flat).double(), model.parameters())
    return model


def torch_optimizer(step: Step, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if step.kind == "adam":
        return torch.optim.Adam(parameters, lr=step.lr, weight_decay=step.weight_decay)
    return torch.optim.SGD(parameters, lr=step.lr, momentum=step.momentum, weight_decay=step.weight_decay)


def problem(dense: Dense, sizes: list[list[int]] = SIZES, seed: int = 0, scale: float = 0.3) -> dict[str, Any]:
    """Records, a model and a schedule with these sizes, as the arguments of `train_dense`."""
    rng = np.random.default_rng(seed)
    flat = [size for client in sizes for size in client]
    rows = [rng.choice(RECORDS, size, replace=False) for size in flat]
    return {
        "x": rng.standard_normal((RECORDS, dense.widths[0]), np.float32),
        "y": rng.integers(0, dense.widths[-1], RECORDS),
        "model": rng.standard_normal(dense.parameters, np.float32) * np.float32(scale),
        "schedule_rows": np.concatenate([np.zeros(0, np.int64), *rows]),
        "schedule_steps": np.cumsum([0, *flat]),
        "schedule_clients": np.cumsum([0, *map(len, sizes)]),
    }


def batches(given: dict[str, Any], client: int) -> Iterator[tuple[int, Any, Any]]:
    """A client's steps: their number, the inputs and the labels."""
    for t in range(given["schedule_clients"][client], given["schedule_clients"][client + 1]):
        rows = given["schedule_rows"][given["schedule_steps"][t] : given["schedule_steps"][t + 1]]
        yield t, torch.from_numpy(given["x"][rows]).double(), torch.from_numpy(given["y"][rows])


def trained(dense: Dense, step: Step, given: dict[str, Any], **private: Any) -> Any:
    out = np.full((max(len(given["schedule_clients"]) - 1, 0), dense.parameters), 7.0, np.float32)
    (train_dense_private if private else train_dense)(dense, step, out=out, **given, **private)
    return out


def reference(dense: Dense, step: Step, given: dict[str, Any], client: int) -> Any:
    model = torch_model(dense, given["model"])
    parameters = list(model.parameters())
    anchors = [p.detach().clone() for p in parameters]
    optimizer = torch_optimizer(step, parameters)
    for _, x, y in batches(given, client):
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(model(x), y))
        for p, anchor in zip(parameters, anchors, strict=True):
            assert p.grad is not None
            p.grad += step.proximal * (p.detach() - anchor)
        if step.clip:
            clip_grad_norm_(parameters, step.clip)
        optimizer.step()
    return parameters_to_vector(parameters).detach().numpy() - given["model"].astype(np.float64)


def assert_close(found: Any, expected: Any, given: dict[str, Any], part: float = 1e-5) -> None:
    """Within 1e-5 of the largest change, and what float32 rounds off the parameters themselves."""
    rounding = 2.0**-22 * np.abs(given["model"]).max()
    assert np.abs(found - expected).max() <= part * np.abs(expected).max() + rounding


def part(given: dict[str, Any], first: int, end: int) -> dict[str, Any]:
    """The same arguments for the clients from `first` up to `end` alone."""
    clients = given["schedule_clients"][first : end + 1]
    steps = given["schedule_steps"][clients[0] : clients[-1] + 1]
    return {
        **given,
        "schedule_rows": given["schedule_rows"][steps[0] : steps[-1]],
        "schedule_steps": steps - steps[0],
        "schedule_clients": clients - clients[0],
    }


def noise_of(dense: Dense, given: dict[str, Any], std: float = 0.05) -> dict[str, Any]:
    """What a private training needs besides."""
    rng = np.random.default_rng(9)
    noise = rng.standard_normal((len(given["schedule_steps"]) - 1, dense.parameters), np.float32) * np.float32(std)
    return {"clip": 0.7, "denominators": np.arange(3.0, 3.0 + len(given["schedule_clients"]) - 1), "noise": noise}


@pytest.fixture(autouse=True)
def _numba() -> None:
    pytest.importorskip("numba")


@st.composite
def networks(draw: st.DrawFn) -> Dense:
    widths = draw(st.lists(st.sampled_from([1, 2, 3, 7, 15, 16, 17, 31, 32, 48, 65]), min_size=2, max_size=4))
    activation = draw(st.sampled_from(sorted(LAYERS))) if len(widths) > 2 else ""
    biases = draw(st.tuples(*[st.booleans()] * (len(widths) - 1)))
    return Dense(widths=(*widths[:-1], widths[-1] + 1), activation=activation, biases=biases)


descents = st.builds(
    Step,
    kind=st.just("sgd"),
    lr=st.sampled_from([0.01, 0.1]),
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    weight_decay=st.sampled_from([0.0, 0.1]),
    proximal=st.sampled_from([0.0, 0.5]),
    clip=st.sampled_from([None, 0.1, 100.0]),
)


@settings(deadline=None, max_examples=40)
@given(
    networks(), descents, st.lists(st.lists(st.integers(1, RECORDS), max_size=4), max_size=3), st.integers(0, 2**32 - 1)
)
def test_a_client_ends_where_torchs_own_loop_ends(dense: Dense, step: Step, sizes: list[list[int]], seed: int) -> None:
    given = problem(dense, sizes, seed)
    for client, row in enumerate(trained(dense, step, given)):
        assert_close(row, reference(dense, step, given, client), given)


@pytest.mark.parametrize("dense", NETWORKS)
@pytest.mark.parametrize("more", [{}, {"weight_decay": 0.1, "proximal": 0.3, "clip": 1.0}])
def test_adam_is_torchs(dense: Dense, more: dict[str, float]) -> None:
    """Where a gradient is hardly more than float32's rounding, Adam divides by it: that is torch's error too."""
    step, given = Step(kind="adam", lr=0.01, **more), problem(dense)
    for client, row in enumerate(trained(dense, step, given)):
        assert_close(row, reference(dense, step, given, client), given, part=1e-4)


class Injected:
    """Noise that is given; there is nothing else to draw."""

    description = "injected"

    def __init__(self, noise: Any) -> None:
        self.noise = iter(noise)

    def gaussian(self, shape: Any, std: float, dtype: Any = None) -> torch.Tensor:
        drawn = torch.from_numpy(next(self.noise)).double()
        assert drawn.shape == tuple(shape)
        return drawn

    def poisson_mask(self, records: int, rate: float) -> Any:
        raise AssertionError("the masks are in the schedule")

    def shuffled(self, n: int) -> Any:
        raise AssertionError("the order is in the schedule")


@pytest.mark.parametrize("dense", NETWORKS)
@pytest.mark.parametrize(
    "step",
    [
        PLAIN,
        MOMENTUM,
        Step(kind="sgd", lr=0.1, momentum=0.5, weight_decay=0.1, proximal=0.5),
        Step(kind="adam", lr=0.1),
    ],
)
def test_private_training_is_opacuss_on_the_same_masks_and_noise(dense: Dense, step: Step) -> None:
    from hedgerow.privacy.dpsgd import RecordOptimizer, per_record_gradients

    given = problem(dense, [[5, 0, 3], [], [1, 17], [0], [32, 8]])
    private = noise_of(dense, given)
    for client, row in enumerate(trained(dense, step, given, **private)):
        model = torch_model(dense, given["model"])
        parameters = list(model.parameters())
        with per_record_gradients(model) as forward:
            optimizer = RecordOptimizer(
                torch_optimizer(step, parameters),
                noise_multiplier=1.0,
                clip=private["clip"],
                denominator=int(private["denominators"][client]),
                randomness=Injected(private["noise"][given["schedule_clients"][client] :]),
                proximal=step.proximal,
            )
            for _, x, y in batches(given, client):
                optimizer.zero_grad(set_to_none=True)
                if len(x):
                    torch.autograd.backward(cross_entropy(forward(x), y, reduction="sum"))
                optimizer.records = len(x)
                optimizer.step()
        assert_close(row, parameters_to_vector(parameters).detach().numpy() - given["model"].astype(np.float64), given)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_a_record_without_a_finite_gradient_adds_exactly_nothing(bad: float) -> None:
    given = problem(WIDE, [[6, 5], [4]])
    private = noise_of(WIDE, given)
    first = given["schedule_rows"][0]
    given["x"][first, 3] = bad
    given["x"][first, 4] = -bad
    steps = given["schedule_steps"].copy()
    steps[1:] -= 1
    rest = given["schedule_rows"][1:]
    given["schedule_rows"][1:] = np.where(rest == first, (first + 1) % RECORDS, rest)
    without = {**given, "schedule_rows": given["schedule_rows"][1:], "schedule_steps": steps}
    found = trained(WIDE, MOMENTUM, given, **private)
    assert np.isfinite(found).all()
    assert found.tobytes() == trained(WIDE, MOMENTUM, without, **private).tobytes()


def test_one_record_moves_a_private_sum_by_the_clip_at_most() -> None:
    given = problem(DEEP, [[1]])
    given["x"] *= 1e6
    silent = {"clip": 0.7, "denominators": np.ones(1), "noise": np.zeros((1, DEEP.parameters), np.float32)}
    row = trained(DEEP, Step(kind="sgd", lr=1.0), given, **silent)
    assert 0.69 < np.linalg.norm(row.astype(np.float64)) <= 0.7 * (1 + 1e-6)


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("step", [PLAIN, MOMENTUM, Step(kind="adam", lr=0.01, clip=0.5)])
@pytest.mark.parametrize("dense", NETWORKS)
def test_the_bytes_of_a_client_depend_on_nobody_beside_it(dense: Dense, step: Step, private: bool) -> None:
    given = problem(dense)
    more = noise_of(dense, given) if private else {}
    together = trained(dense, step, given, **more)

    def some(first: int, end: int) -> Any:
        steps = slice(given["schedule_clients"][first], given["schedule_clients"][end])
        mine = {"denominators": slice(first, end), "noise": steps}
        return trained(
            dense,
            step,
            part(given, first, end),
            **{name: value[mine[name]] if name in mine else value for name, value in more.items()},
        )

    for cuts in ([0, 1, 2, 3, 4, 5], [0, 2, 5]):
        with ThreadPoolExecutor(2) as pool:
            rows = list(pool.map(some, cuts[:-1], cuts[1:]))
        assert np.concatenate(rows).tobytes() == together.tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("step", [PLAIN, MOMENTUM, Step(kind="adam", lr=0.01), Step(kind="sgd", lr=0.1, clip=1.0)])
def test_numbers_that_are_not_finite_stay_with_their_client(bad: float, step: Step) -> None:
    for dense in NETWORKS:
        given = problem(dense, [[4, 4], [3, 5], [2, 6]])
        given["schedule_rows"] = np.concatenate([np.arange(8), np.arange(8, 16), np.arange(16, 24)])
        before = trained(dense, step, given)
        given["x"][9, 0] = bad
        after = trained(dense, step, given)
        assert np.isfinite(before).all() and not np.isfinite(after[1]).all()
        assert after[[0, 2]].tobytes() == before[[0, 2]].tobytes()


def test_a_model_that_is_not_finite_gives_rows_that_are_not_finite() -> None:
    for bad in (np.nan, np.inf):
        for place in (0, WIDE.parameters - 1):
            given = problem(WIDE)
            given["model"][place] = bad
            finite = np.isfinite(trained(WIDE, MOMENTUM, given)).all(axis=1)
            assert finite.tolist() == [False, False, True, False, False]  # the third client has no steps


def test_large_logits_do_not_overflow() -> None:
    """Their rounding is theirs: a thousand in float32 has lost four digits behind the point."""
    given = problem(SHALLOW, scale=1000.0)
    for client, row in enumerate(trained(SHALLOW, PLAIN, given)):
        assert_close(row, reference(SHALLOW, PLAIN, given, client), given, part=1e-3)
    assert np.isfinite(trained(NARROW, PLAIN, problem(NARROW, scale=1e6))).all()


def test_a_client_without_steps_is_exactly_zero_and_no_clients_are_fine() -> None:
    given = problem(WIDE, [[], [3], []])
    given["model"][0] = np.nan
    assert (trained(WIDE, MOMENTUM, given)[[0, 2]] == 0.0).all()
    assert trained(WIDE, MOMENTUM, problem(WIDE, [])).shape == (0, WIDE.parameters)


def test_a_class_that_no_record_has_is_trained_like_the_others() -> None:
    given = problem(WIDE)
    given["y"] %= 4
    for client, row in enumerate(trained(WIDE, MOMENTUM, given)):
        assert_close(row, reference(WIDE, MOMENTUM, given, client), given)


def test_read_only_strided_and_mapped_arrays_are_served_without_compiling_again(tmp_path: Path) -> None:
    given = problem(WIDE)
    expected = trained(WIDE, MOMENTUM, given).tobytes()
    np.save(tmp_path / "x.npy", given["x"])
    given["model"].flags.writeable = False
    given["schedule_rows"].flags.writeable = False
    for x in (np.load(tmp_path / "x.npy", mmap_mode="r"), np.asfortranarray(given["x"])):
        assert trained(WIDE, MOMENTUM, {**given, "x": x}).tobytes() == expected
    given["model"].flags.writeable = True
    assert trained(WIDE, MOMENTUM, given).tobytes() == expected
    assert len(kernel.prepare().signatures) == 1


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("x", np.zeros((RECORDS, 31), np.float32), "E126"),
        ("x", np.zeros((RECORDS, 32)), "E126"),
        ("y", np.full(RECORDS, 10), "E124"),
        ("y", np.full(RECORDS, -1), "E124"),
        ("y", np.zeros(RECORDS, np.int32), "E126"),
        ("model", np.zeros(3, np.float32), "E126"),
        ("schedule_rows", np.array([0, RECORDS, 1]), "E126"),
        ("schedule_rows", np.array([0, -1, 1]), "E126"),
        ("schedule_steps", np.array([0, 2, 1, 3]), "E126"),
        ("schedule_steps", np.array([0, 4]), "E126"),
        ("schedule_steps", np.array([-1, 3]), "E126"),
        ("schedule_clients", np.array([0, 2]), "E126"),
        ("schedule_clients", np.zeros(0, np.int64), "E126"),
    ],
)
def test_what_would_read_or_write_elsewhere_is_refused(name: str, value: Any, code: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        trained(WIDE, PLAIN, {**problem(WIDE, [[3]]), name: value})
    assert caught.value.code == code


def test_out_and_the_private_arguments_are_checked_too() -> None:
    given = problem(WIDE, [[3]])
    fine = noise_of(WIDE, given)
    for name, value, code in (
        ("clip", 0.0, "E103"),
        ("clip", np.inf, "E103"),
        ("denominators", np.zeros(1), "E103"),
        ("denominators", np.ones(2), "E126"),
        ("noise", fine["noise"][:, :-1], "E126"),
        ("noise", fine["noise"][:0], "E126"),
    ):
        with pytest.raises(Misconfigured) as caught:
            trained(WIDE, PLAIN, given, **{**fine, name: value})
        assert caught.value.code == code
    for out in (np.zeros((2, WIDE.parameters), np.float32), np.zeros((1, 2 * WIDE.parameters), np.float32)[:, ::2]):
        with pytest.raises(Misconfigured):
            train_dense(WIDE, PLAIN, out=out[:, ::-1] if len(out) == 1 else out, **given)


@pytest.mark.parametrize(
    ("widths", "activation", "biases"),
    [((5,), "", ()), ((5, 2), "relu", (True,)), ((5, 4, 2), "", (True, True)), ((5, 4, 2), "gelu", (True, True)),
     ((5, 0, 2), "relu", (True, True)), ((5, 2), "", (True, True))],
)  # fmt: skip
def test_what_is_no_dense_network_is_refused(widths: Any, activation: str, biases: Any) -> None:
    with pytest.raises(Misconfigured):
        Dense(widths=widths, activation=activation, biases=biases)


def run(code: str, cache: Path, home: dict[str, str]) -> str:
    lines = ["import sys", "from hedgerow.simulations.cohort import kernel", code]
    environment = {**home, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def home() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": ""}


def test_asking_neither_loads_nor_compiles_what_it_need_not(tmp_path: Path, home: dict[str, str]) -> None:
    code = "print(kernel.available(), 'numba' in sys.modules, kernel.compiled())"
    assert run(code, tmp_path, home) == "True False False"
    assert not list(tmp_path.rglob("*.nbc"))


def test_a_machine_where_nothing_can_be_written_still_loads_the_code(tmp_path: Path, home: dict[str, str]) -> None:
    code = "import numba.core.caching as c; c.CacheImpl._locator_classes = []; print(kernel.compiled())"
    assert run(code, tmp_path, home) == "False"


@pytest.mark.slow
def test_what_was_compiled_once_is_found_by_the_next_process(tmp_path: Path, home: dict[str, str]) -> None:
    assert run("print(kernel.prepare().stats.cache_hits.total())", tmp_path, home) == "0"
    code = "print(kernel.compiled(), kernel.prepare().stats.cache_hits.total())"
    assert run(code, tmp_path, home) == "True 1"
