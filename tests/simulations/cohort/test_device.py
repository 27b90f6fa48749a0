"""A device apart gives what one by one gives or is not used, and nothing is computed across two memories."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.simulations.cohort.imagined import IMAGINED, imagined
from torch import nn

from hedgerow import Job, Local, Privacy, Scenario, Secure
from hedgerow.cli.simulating import Asked
from hedgerow.errors import Misconfigured
from hedgerow.runs import RunFolder
from hedgerow.simulations import resume, simulate
from hedgerow.simulations.cohort import choosing, sizing
from hedgerow.simulations.cohort.device import CPU, Device, device_of, exact_products, kind_told
from hedgerow.simulations.cohort.trainer import CohortTrainer
from hedgerow.tasks import digits

Make = Callable[..., Any]
JOB = Job(rounds=3, local=Local(lr=0.5), privacy=Privacy(unit="none"), secure=Secure(mode="off"))
MATMUL: Any = torch.backends.cuda.matmul
CUDNN: Any = torch.backends.cudnn
SIZES = (13, 7, 5, 1, 11)
MODELS = ("linear", "relu", "no-bias", "convolution", "residual", "words", "frozen")
PRIVATE = {"privacy__unit": "record", "privacy__epsilon": 8.0, "privacy__delta": 1e-3}
OPTIMIZERS: dict[str, dict[str, object]] = {
    "sgd": {},
    "fedprox": {"local__momentum": 0.9, "local__proximal": 0.3, "local__weight_decay": 0.1, "local__epochs": 2},
    "clip": {"local__clip": 0.5, "local__momentum": 0.9},
    "adam": {"local__optimizer": "adam", "local__lr": 0.01, "local__weight_decay": 0.1},
}


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cuda` is the imagined device."""
    put(monkeypatch, IMAGINED)


def put(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    """`cuda` is this device, to the engine and to the trainer."""
    for module in ("engine", "cohort.trainer"):
        monkeypatch.setattr(
            f"hedgerow.simulations.{module}.device_of", lambda wanted: device if wanted == "cuda" else CPU
        )


@pytest.mark.parametrize("path", ["layers", "vmap"])
@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_everything_happens_on_the_device_with_the_numbers_of_the_cpu(
    cohort: Make, there: None, model: str, private: bool, path: str
) -> None:
    """The imagined device computes as the CPU does, so the bytes are the same where the chunks are."""
    if (path, model) == ("vmap", "words"):
        pytest.skip("token numbers are stored as floats, and the path is tried with layers")
    sites = cohort(model, SIZES, local__momentum=0.5, **(PRIVATE if private else {}))
    expected, _ = sites.train(path)
    with imagined() as traffic:
        training = sites.trainer(path, device="cuda")
        assert training.chosen.device == IMAGINED.name and training.chosen.difference < 1e-5, training.chosen
        before = traffic.operations
        rows, failed = training.train(sites.model, range(len(SIZES)), round=1)
        assert traffic.operations > before
    assert not failed and (rows == expected).all()


@pytest.mark.parametrize("path", ["layers", "vmap"])
@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_works_on_the_device(
    cohort: Make, there: None, optimizer: str, private: bool, path: str
) -> None:
    if private and optimizer == "clip":
        pytest.skip("under privacy every record's own gradient is clipped")
    sites = cohort("relu", SIZES, **OPTIMIZERS[optimizer], **(PRIVATE if private else {}))
    expected, _ = sites.train(path)
    with imagined():
        training = sites.trainer(path, device="cuda")
        rows, failed = training.train(sites.model, range(len(SIZES)), round=1)
    assert training.chosen.device == IMAGINED.name
    assert not failed and (rows == expected).all()


def test_what_a_module_holds_beside_its_parameters_is_there_too(cohort: Make, there: None) -> None:
    class Weighed(nn.Module):
        weights: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.leave = nn.Linear(36, 3)
            self.register_buffer("weights", torch.linspace(0.5, 1.5, 36), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.leave(x.flatten(1) * self.weights)
            return out

    sites = cohort(Weighed, SIZES)
    with imagined():
        training = sites.trainer("vmap", device="cuda")
        rows, _ = training.train(sites.model, range(len(SIZES)), round=1)
    assert training.chosen.device == IMAGINED.name
    assert (rows == sites.train("vmap")[0]).all()


def test_the_imagined_device_finds_an_operation_across_two_memories() -> None:
    with imagined(), pytest.raises(AssertionError, match="two devices"):
        torch.ones(3, device=IMAGINED.place) + torch.ones(3)


# What is not right there is not used.


def wrong(name: str, factor: float = 1.001, *, more_than: int = 0) -> Callable[[str, Any], None]:
    """An operation whose results are off, where it is given more than so many clients."""

    def spoil(operation: str, result: Any) -> None:
        if operation == name and len(result) > more_than:
            result.mul_(factor)

    return spoil


def fell_back(sites: Any, training: CohortTrainer, reason: str) -> None:
    """The sites train on the CPU, which says why, with the bytes of a CPU that was asked for."""
    assert training.chosen.device.startswith(f"cpu (not {IMAGINED.name}: ") and reason in training.chosen.device
    rows, failed = training.train(sites.model, range(len(sites.sites)), round=1)
    expected, _ = sites.train(training.chosen.path)
    assert not failed and (rows == expected).all()


@pytest.mark.parametrize("private", [False, True])
def test_a_device_that_computes_something_else_is_not_used(
    cohort: Make, there: None, caplog: pytest.LogCaptureFixture, private: bool
) -> None:
    sites = cohort("relu", SIZES, **(PRIVATE if private else {}))
    with imagined(wrong("mul_" if private else "baddbmm_")):
        training = sites.trainer("layers", device="cuda")
    fell_back(sites, training, "layers: it gave other updates than one by one")
    assert "not on cuda:0 (imagined)" in caplog.text


def test_a_device_that_is_wrong_with_many_sites_only_is_not_used(cohort: Make, there: None) -> None:
    sites = cohort("relu", SIZES * 20)
    with imagined(wrong("baddbmm_", more_than=50)):
        training = sites.trainer("layers", device="cuda")
    fell_back(sites, training, "layers: it gave other updates than one by one")


def test_without_being_asked_for_a_path_every_path_is_tried_on_the_device_first(cohort: Make, there: None) -> None:
    sites = cohort("relu", SIZES)
    with imagined(wrong("baddbmm_")):
        training = sites.trainer(device="cuda")
        assert (training.chosen.path, training.chosen.device) == ("vmap", IMAGINED.name)
        assert "layers: it gave other updates" in training.chosen.reason
    with imagined(wrong("add_")):
        training = sites.trainer(device="cuda")
    assert training.chosen.path in ("kernel", "layers")
    fell_back(sites, training, "vmap: it gave other updates than one by one")


def test_a_device_that_raises_is_not_used(cohort: Make, there: None) -> None:
    def full(operation: str, result: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    sites = cohort("relu", SIZES)
    with imagined(full):
        training = sites.trainer("layers", device="cuda")
    fell_back(sites, training, "layers: OutOfMemoryError (CUDA out of memory)")


def test_records_that_do_not_fit_are_not_moved(cohort: Make, there: None, monkeypatch: pytest.MonkeyPatch) -> None:
    sites = cohort("relu", SIZES)
    size = sum(x.nbytes + y.nbytes for x, y in sites.task.parts)
    put(monkeypatch, replace(IMAGINED, free=2 * size - 1))
    with imagined() as traffic:
        training = sites.trainer("layers", device="cuda")
        assert traffic.to == 0
    fell_back(sites, training, "MB of records are too much for")


def test_a_loss_with_tensors_of_its_own_stays_on_the_cpu(
    cohort: Make, there: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = torch.tensor([0.5, 1.0, 2.0])

    def weighed(self: Any, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, y, weight=weights, reduction="none")

    sites = cohort("relu", SIZES)
    monkeypatch.setattr(type(sites.task), "loss", weighed)
    with imagined():
        training = sites.trainer("layers", device="cuda")
    fell_back(sites, training, "two devices")
    assert training.chosen.path == "layers"


def test_what_only_one_by_one_trains_stays_on_the_cpu(cohort: Make, there: None) -> None:
    def dropout() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.Dropout(0.5))

    with imagined() as traffic:
        training = cohort(dropout, SIZES).trainer(device="cuda")
    assert (training.chosen.path, training.chosen.device, traffic.to) == ("one-by-one", "cpu", 0)
    with pytest.raises(Misconfigured) as caught:
        cohort("relu", SIZES).trainer("one-by-one", device="cuda")
    assert caught.value.code == "E105"


def test_a_device_that_is_lost_on_the_way_costs_no_site(cohort: Make, there: None) -> None:
    lost = False

    def lose(operation: str, result: Any) -> None:
        if lost:
            raise RuntimeError("CUDA error: device-side assert triggered")

    sites = cohort("relu", SIZES)
    with imagined(lose):
        training = sites.trainer("layers", device="cuda")
        lost = True
        rows, failed = training.train(sites.model, range(len(SIZES)), round=1)
    assert not failed and (rows == sites.train("one-by-one")[0]).all()


def test_the_command_line_names_the_option_where_no_device_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Misconfigured) as caught:
        Asked(device="cuda").refuse_wrong()
    assert (caught.value.code, caught.value.place) == ("E107", "--device")
    assert Asked(device="cuda").command.endswith("--device cuda")


# What moves, and how much at a time.


@pytest.mark.parametrize("private", [False, True])
def test_records_move_once_a_chunk_s_plan_once_and_its_updates_back_in_one_piece(
    cohort: Make, there: None, private: bool
) -> None:
    sites = cohort("relu", SIZES, **(PRIVATE if private else {}))
    with imagined() as traffic:
        training = sites.trainer("layers", device="cuda")
        for round in (1, 2):
            to, back = traffic.to, traffic.back
            training.train(sites.model, range(len(SIZES)), round=round)
            steps = max(training.plan(place, round).steps_per_round for place in range(len(SIZES))) if private else 0
            assert traffic.to - to == 4 + steps  # the model, rows, which of them count, divisors, and noise by step
            assert traffic.back - back == 1


def test_large_convolutions_are_no_reason_against_a_device(
    cohort: Make, there: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "LARGE_CONVOLUTIONS", 0)
    sites = cohort("convolution", SIZES)
    with imagined():
        training = sites.trainer(device="cuda")
    assert (training.chosen.path, training.chosen.device) == ("layers", IMAGINED.name)
    with imagined(wrong("add_")):
        training = sites.trainer(device="cuda")
    assert training.chosen.path == "one-by-one" and "faster one by one" in training.chosen.reason
    assert training.chosen.device.startswith("cpu (not ")


def test_a_device_has_one_thread_and_chunks_by_its_memory(cohort: Make, there: None) -> None:
    sites = cohort("relu", SIZES)
    footprint = sites.choice("layers").footprint
    with imagined():
        assert sites.trainer("layers", device="cuda", workers=4).workers == 1
    sizes = [footprint.chunk(sites.job, "layers", replace(IMAGINED, free=1 << bits))[0] for bits in range(10, 40)]
    assert sizes == sorted(sizes) and sizes[0] == 1 and sizes[-1] == sizing.MOST_APART
    half, whole = (footprint.chunk(sites.job, "layers", replace(IMAGINED, free=free))[0] for free in (1 << 22, 1 << 23))
    assert 2 * half <= whole <= 2 * half + 1
    wide = replace(footprint, parameters=10_000_000)
    clients, passed = wide.chunk(sites.job, "layers", replace(IMAGINED, free=1 << 40))
    assert clients * 4 * wide.parameters <= sizing.PASSED and passed == 2 * clients * 4 * wide.parameters


def test_records_take_their_part_of_the_device_s_memory(cohort: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    sites = cohort("relu", SIZES * 100)
    size = sum(x.nbytes + y.nbytes for x, y in sites.task.parts)
    put(monkeypatch, replace(IMAGINED, free=3 * size))
    with imagined():
        training = sites.trainer("layers", device="cuda")
    left, whole = (
        sites.choice("layers").footprint.chunk(sites.job, "layers", replace(IMAGINED, free=shares * size))[0]
        for shares in (2, 3)
    )
    assert training.chosen.chunk == left < whole


# Names, settings and whole runs.


def test_auto_is_the_cpu_whatever_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of("auto") == device_of("cpu") == CPU and not CPU.apart


def test_cuda_is_torch_s_current_device_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (10 + number, 100))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU of place {number}")
    found = device_of("cuda")
    assert (found.place, found.name, found.free) == (torch.device("cuda", 1), "cuda:1 (GPU of place 1)", 11)
    assert found.apart and kind_told(found.name) == "cuda"


@pytest.mark.parametrize(("wanted", "code"), [("cuda", "E107"), ("gpu", "E103"), ("cuda:1", "E103"), ("", "E103")])
def test_a_device_that_is_not_there_or_not_known_is_refused_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wanted: str, code: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Misconfigured) as caught:
        simulate(JOB, digits(hidden=0), runs=tmp_path / "runs", device=wanted)
    assert (caught.value.code, caught.value.place) == (code, "device")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("engine", ["in-process", "ray", "local"])
def test_other_engines_have_no_use_for_a_device(tmp_path: Path, engine: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        simulate(JOB, digits(hidden=0), runs=tmp_path / "runs", engine=engine, device="cpu")
    assert (caught.value.code, caught.value.place) == ("E105", "device")


@pytest.mark.parametrize("before", ["nothing", "older", "newer"])
@pytest.mark.skipif(not hasattr(CUDNN, "conv"), reason="PyTorch before 2.9 has the older names alone")
def test_products_are_whole_on_a_device_and_the_settings_are_put_back(before: str) -> None:
    settings = (MATMUL, CUDNN.conv, CUDNN.rnn)

    def precision() -> list[str]:
        return [setting.fp32_precision for setting in settings]

    first = precision()
    try:
        if before == "older":
            MATMUL.allow_tf32 = CUDNN.allow_tf32 = True
        elif before == "newer":
            MATMUL.fp32_precision = CUDNN.conv.fp32_precision = CUDNN.rnn.fp32_precision = "tf32"
        own = precision()
        with pytest.raises(ZeroDivisionError), exact_products(IMAGINED):
            assert precision() == ["ieee"] * 3
            _ = 1 / 0
        assert precision() == own
        with exact_products(CPU):
            assert precision() == own
    finally:
        if before == "older":
            MATMUL.allow_tf32, CUDNN.allow_tf32 = False, True
        for setting, value in zip(settings, first, strict=True):
            setting.fp32_precision = value


def test_older_torch_has_other_names_for_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(CUDNN, "conv"):
        monkeypatch.delattr(type(CUDNN), "conv")
    before = (MATMUL.allow_tf32, CUDNN.allow_tf32)
    with exact_products(IMAGINED):
        assert (MATMUL.allow_tf32, CUDNN.allow_tf32) == (False, False)
    assert (MATMUL.allow_tf32, CUDNN.allow_tf32) == before


def test_products_are_whole_while_a_device_trains(cohort: Make, there: None, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = False
    seen = []

    @contextmanager
    def spied(device: Device) -> Iterator[None]:
        nonlocal whole
        whole = device.apart
        yield
        whole = False

    monkeypatch.setattr("hedgerow.simulations.cohort.paths.exact_products", spied)
    with imagined(lambda operation, result: seen.append((operation, whole))):
        cohort("relu", SIZES).train("layers", device="cuda")
    products = [inside for operation, inside in seen if "bmm" in operation]
    assert products and all(products)


def test_a_run_on_a_device_says_so_and_shifted_sites_train_as_on_the_cpu(there: None, tmp_path: Path) -> None:
    scenario = Scenario(sites=6, shift="affine:0.5")
    expected = simulate(JOB, digits(hidden=0), scenario=scenario, runs=tmp_path / "cpu")
    with imagined():
        run = simulate(JOB, digits(hidden=0), scenario=scenario, runs=tmp_path / "gpu", device="cuda")
    (chosen,) = run.events("engine-chosen")
    assert (chosen["path"], chosen["device"], chosen["workers"]) == ("layers", IMAGINED.name, 1)
    assert IMAGINED.name in run.report.read_text()
    assert run.final["accuracy"] == pytest.approx(expected.final["accuracy"], abs=0.01)


class Stop(Exception):
    """Somebody pulls the plug."""


def stopped(tmp_path: Path, after: int = 1, **options: Any) -> RunFolder:
    def stop(event: Mapping[str, Any]) -> None:
        if event["event"] == "round-closed" and event["round"] == after:
            raise Stop

    with pytest.raises(Stop):
        simulate(JOB, digits(hidden=0), scenario=Scenario(sites=4), runs=tmp_path, listeners=[stop], **options)
    return RunFolder.open(next(path for path in tmp_path.iterdir()))


def test_a_run_on_a_device_goes_on_there(there: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with imagined():
        whole = simulate(JOB, digits(hidden=0), scenario=Scenario(sites=4), runs=tmp_path / "whole", device="cuda")
        run = resume(stopped(tmp_path / "there", device="cuda"), digits(hidden=0))
        assert run.status == "finished" and len(run.events("engine-chosen")) == 1
        assert run.final == whole.final
        folder = stopped(tmp_path / "another", device="cuda")
        another = replace(IMAGINED, name="cuda:0 (another)")
        put(monkeypatch, another)
        run = resume(folder, digits(hidden=0))
        assert [event["device"] for event in run.events("engine-chosen")] == [IMAGINED.name, another.name]


def test_a_run_on_a_device_does_not_go_on_without_it(
    there: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with imagined():
        lost, wrong_now = (stopped(tmp_path / name, device="cuda") for name in ("lost", "wrong"))
    with imagined(wrong("baddbmm_")), pytest.raises(Misconfigured) as caught:
        resume(wrong_now, digits(hidden=0))
    assert caught.value.code == "E107" and "other updates than one by one" in caught.value.message
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Misconfigured) as caught:
        resume(lost, digits(hidden=0))
    assert caught.value.code == "E107"


def test_a_run_that_fell_back_goes_on_by_the_cpu(there: None, tmp_path: Path) -> None:
    with imagined(wrong("baddbmm_")), imagined(wrong("add_")):
        folder = stopped(tmp_path, device="cuda")
    run = resume(folder, digits(hidden=0))
    (chosen,) = run.events("engine-chosen")
    assert run.status == "finished" and chosen["device"].startswith("cpu (not ")


# A real one.


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")
@pytest.mark.parametrize("path", ["layers", "vmap"])
@pytest.mark.parametrize("private", [False, True])
def test_a_gpu_gives_what_one_by_one_gives(cohort: Make, private: bool, path: str) -> None:
    for model in MODELS if path == "layers" else sorted({*MODELS} - {"words"}):
        for optimizer in OPTIMIZERS if not private else sorted({*OPTIMIZERS} - {"clip"}):
            sites = cohort(model, SIZES * 30, **OPTIMIZERS[optimizer], **(PRIVATE if private else {}))
            training = sites.trainer(path, device="cuda")
            assert training.chosen.device.startswith("cuda:") and training.chosen.path == path, training.chosen
            rows, failed = training.train(sites.model, range(len(sites.sites)), round=1)
            assert not failed
            assert sites.far(rows, sites.train("one-by-one")[0]) < 1e-4, (model, optimizer)
