"""What a site does when asked, what it refuses, and what never leaves it."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.serde import message_to_proto, recorddict_to_proto

from hedgerow.client import HedgerowClientApp, client_app, trainer
from hedgerow.errors import Refused
from hedgerow.job import Job
from hedgerow.privacy import Ledger, private_steps
from hedgerow.task import Data, Site, Split, Task
from hedgerow.wire import Reply

AskedSite = Any
MakeSite = Callable[..., AskedSite]
MakeTask = Callable[..., Any]

PRIVATE = {"privacy__unit": "record"}


def serialised(message: Message) -> bytes:
    return bytes(message_to_proto(message).SerializeToString())


def code_of(reply: Reply) -> str:
    return "" if reply.failure is None else reply.failure.code


def spent(site: AskedSite, dataset: str = "ward-1") -> float:
    path = site.store / "ledger.sqlite"
    if not path.exists():
        return 0.0
    with Ledger.open(path, durable=False) as ledger:
        return ledger.spent(dataset, delta=1e-3).epsilon


class Raising(Task):
    """A task that fails where it is told to, with a record in its words."""

    def __init__(self, where: str, inner: Task) -> None:
        self.where = where
        self.inner = inner

    def _fail(self, where: str) -> None:
        if self.where == where:
            raise ValueError("secret patient 42")

    def model(self) -> torch.nn.Module:
        return self.inner.model()

    def data(self, site: Site) -> Data:
        self._fail("data")
        return self.inner.data(site)

    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self._fail("loss")
        return self.inner.loss(logits, y)

    def metrics(self, logits: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        self._fail("metrics")
        return self.inner.metrics(logits, y)


def test_an_app_knows_its_task(rings: MakeTask) -> None:
    task = rings()
    app = client_app(task)
    assert isinstance(app, HedgerowClientApp) and app.task is task


def test_a_site_trains_and_answers_with_the_difference(site: MakeSite) -> None:
    asked = site()
    reply = asked.read()
    assert code_of(reply) == "" and reply.update is not None
    assert (reply.site, reply.examples, reply.attestation) == ("ward-1", 24, None)
    assert "simulation" in reply.randomness
    trained = asked.start + reply.update
    assert 0 < np.linalg.norm(reply.update) < 10 and trained.dtype == np.float32


def test_the_same_seed_gives_the_same_bytes_whatever_was_asked_before(site: MakeSite) -> None:
    asked = site()
    first = asked.read(number=2)
    asked.read(number=1, model=asked.start + 3)
    asked.read(number=2, **{"partition-id": 1, "site-name": "ward-2"})
    again = asked.read(number=2)
    assert first.update is not None and again.update is not None
    assert first.update.tobytes() == again.update.tobytes()
    others = [
        asked.read(number=3),
        asked.read(number=2, **{"partition-id": 2}),
        asked.read(number=2, **{"simulation-seed": 8}),
    ]
    assert all(o.update is not None and o.update.tobytes() != first.update.tobytes() for o in others)


def test_a_fresh_process_gives_the_same_bytes_as_one_that_kept_its_tensors(site: MakeSite) -> None:
    kept = site()
    kept.read(number=1)
    one, other = kept.read(number=2).update, site().read(number=2).update
    assert one is not None and other is not None and one.tobytes() == other.tobytes()


def test_a_site_s_records_are_read_once(site: MakeSite, rings: MakeTask) -> None:
    task = rings()
    asked = site(task)
    for number in (1, 2, 3):
        asked.read(number=number)
    assert task.reads == 1


def test_another_job_is_refused_and_nothing_is_read_or_trained(site: MakeSite, rings: MakeTask) -> None:
    task = rings()
    asked = site(task, **PRIVATE)
    reply = asked.read(digest="0" * 64)
    assert code_of(reply) == "E202" and task.reads == 0 and spent(asked) == 0


def test_a_run_configuration_that_is_not_the_agreed_one_is_refused(site: MakeSite) -> None:
    asked = site()
    asked.config["local.lr"] = 5.0
    assert code_of(asked.read()) == "E202"
    asked.config["local.rate"] = 5.0
    assert code_of(asked.read()) == "E101"


def test_a_site_without_records_says_so(site: MakeSite, rings: MakeTask) -> None:
    for changes in ({}, PRIVATE):
        assert code_of(site(rings(records=0), **changes).read()) == "E125"


@pytest.mark.parametrize("records", [1, 2])
def test_a_site_with_hardly_any_record_still_answers(records: int, site: MakeSite, rings: MakeTask) -> None:
    assert code_of(site(rings(records=records)).read()) == ""
    assert code_of(site(rings(records=records), **PRIVATE).read()) == ""


@pytest.mark.parametrize("content", [RecordDict(), RecordDict({"arrays": ArrayRecord(), "config": ConfigRecord()})])
def test_a_question_that_is_not_ours_is_answered_with_a_code(content: RecordDict, site: MakeSite) -> None:
    asked = site()
    reply = asked.send(content)
    assert reply.content.config_records["failure"]["code"] == "E205"


def test_a_model_of_another_shape_is_not_trained(site: MakeSite) -> None:
    asked = site()
    content = asked_content(asked, ArrayRecord([np.zeros(3, np.float32)]))
    assert asked.send(content).content.config_records["failure"]["code"] == "E301"
    missing = asked_content(asked, ArrayRecord())
    del missing["arrays"]
    assert asked.send(missing).content.config_records["failure"]["code"] in ("E305", "E308")


def asked_content(asked: AskedSite, arrays: ArrayRecord) -> RecordDict:
    words = {"server-round": 1, "rounds": 4, "run": "r", "job": asked.job.digest()}
    return RecordDict({"arrays": arrays, "config": ConfigRecord(words)})


@pytest.mark.parametrize("unit", ["none", "record"])
@pytest.mark.parametrize("where", ["data", "loss"])
def test_an_exception_s_words_stay_in_the_site_s_log(
    where: str, unit: str, site: MakeSite, rings: MakeTask, caplog: pytest.LogCaptureFixture
) -> None:
    asked = site(Raising(where, rings()), privacy__unit=unit)
    with caplog.at_level(logging.WARNING, logger="hedgerow"):
        message = asked.ask()
    assert not message.has_error() and b"secret" not in serialised(message) and b"patient" not in serialised(message)
    assert message.content.config_records["failure"]["code"] == "E308"
    assert "secret patient 42" in caplog.text


def test_what_a_named_error_says_stays_at_home_too(site: MakeSite, rings: MakeTask) -> None:
    """A site's refusal names its own ledger and data set; the reply holds the code and the site's name."""
    asked = site(**PRIVATE, node={"dataset": "secret-cohort", "epsilon-limit": 1e-6})
    message = asked.ask()
    assert message.content.config_records["failure"]["code"] == "E201"
    assert b"secret-cohort" not in serialised(message) and str(asked.store).encode() not in serialised(message)
    assert list(message.content) == ["failure", "site"]


def test_a_bad_node_configuration_is_answered_with_its_code(site: MakeSite) -> None:
    assert site(node={"epsilon-limit": "secret 42"}).ask().content.config_records["failure"]["code"] == "E102"


def test_evaluation_gives_metrics_with_the_number_of_records(site: MakeSite) -> None:
    metrics = site(evaluate="sites").ask(kind="evaluate").content.metric_records["metrics"]
    assert metrics["num-examples"] == 6 and 0 <= float(metrics["accuracy"]) <= 1 and float(metrics["loss"]) > 0


def test_evaluation_without_held_out_records_says_so(site: MakeSite, rings: MakeTask) -> None:
    class Nothing(Task):
        def model(self) -> torch.nn.Module:
            model: torch.nn.Module = rings().model()
            return model

        def data(self, site: Site) -> Data:
            train = rings().data(site).train
            return Data(train, train.take(np.arange(0)))

    message = site(Nothing(), evaluate="sites").ask(kind="evaluate")
    assert message.content.config_records["failure"]["code"] == "E125"


def test_evaluation_s_exceptions_stay_at_home(site: MakeSite, rings: MakeTask) -> None:
    message = site(Raising("metrics", rings()), evaluate="sites").ask(kind="evaluate")
    assert b"secret" not in serialised(message)


def test_under_privacy_nothing_is_evaluated(site: MakeSite) -> None:
    message = site(**PRIVATE).ask(kind="evaluate")
    assert message.content.config_records["failure"]["code"] == "E203"
    assert not message.content.metric_records


def test_under_privacy_the_reply_holds_no_count_and_no_metric(site: MakeSite, rings: MakeTask) -> None:
    """The planted count 12,347 is in no record of the reply, neither as a number nor as text."""
    asked = site(rings(records=12_347), **PRIVATE, privacy__delta=1e-6, local__batch=64)
    message = asked.ask()
    assert set(message.content) == {"update", "site", "privacy"}
    record = message.content.metric_records["privacy"]
    assert 12_347 not in record.values() and "num-examples" not in record
    message.content.pop("update")
    data = recorddict_to_proto(message.content).SerializeToString()  # without the time stamps
    varint = bytes([246, 192, 1])  # 12,347 as protobuf's sint64 writes it
    for planted in (b"num-examples", b"12347", varint, np.float64(12_347).tobytes()):
        assert planted not in data
    message.content["metrics"] = MetricRecord({"num-examples": 12_347})  # the search finds a count where there is one
    data = recorddict_to_proto(message.content).SerializeToString()
    assert varint in data and b"num-examples" in data


def test_the_attestation_says_what_the_ledger_says(site: MakeSite) -> None:
    asked = site(**PRIVATE)
    replies = [asked.read(number=number) for number in (1, 2, 3, 4)]
    attested = [reply.attestation for reply in replies]
    assert all(one is not None for one in attested)
    spending = [one.spent_epsilon for one in attested if one is not None]
    assert spending == sorted(spending) and spending[0] < spending[-1] <= 4.0
    last = attested[-1]
    assert last is not None
    assert last.spent_epsilon == pytest.approx(spent(asked), abs=1e-3) and last.spent_epsilon >= spent(asked)
    assert (last.limit, last.delta, last.clip) == (4.0, 1e-3, 1.0) and last.planned_epsilon <= 4.0
    assert all(reply.examples is None for reply in replies)


def test_the_ledger_is_charged_before_the_first_record_is_looked_at(
    site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = site(**PRIVATE)
    seen: list[float] = []
    steps = private_steps

    def looking(*arguments: Any, **named: Any) -> None:
        seen.append(spent(asked))
        steps(*arguments, **named)

    monkeypatch.setattr(trainer, "private_steps", looking)
    asked.read()
    assert seen == [pytest.approx(spent(asked))] and seen[0] > 0


def test_a_crash_while_training_stays_charged(site: MakeSite, rings: MakeTask) -> None:
    """The process dies in the loss function: what it spent is on the disk."""

    class Dying(Raising):
        def _fail(self, where: str) -> None:
            if where == "loss":
                os._exit(17)

    asked = site(Dying("loss", rings()), **PRIVATE)
    child = os.fork()
    if child == 0:
        try:
            asked.ask()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 17
    after = spent(asked)
    assert after > 0
    healthy = site(**PRIVATE)
    assert code_of(healthy.read(number=1, **{"simulation-seed": 99})) == ""
    assert spent(asked) > after


def test_an_error_while_training_stays_charged_because_the_failure_itself_is_an_answer(
    site: MakeSite, rings: MakeTask
) -> None:
    asked = site(Raising("loss", rings()), **PRIVATE)
    assert code_of(asked.read()) == "E308" and spent(asked) > 0


def test_a_loss_of_the_wrong_shape_is_named_and_stays_charged(site: MakeSite, rings: MakeTask) -> None:
    class Summed(Raising):
        def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.inner.loss(logits, y).sum()

    asked = site(Summed("", rings()), **PRIVATE)
    assert code_of(asked.read()) == "E102"
    assert spent(asked) > 0  # a batch was read: that it failed may say something about a record


def test_a_full_ledger_refuses_and_nothing_is_trained(site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = site(**PRIVATE)
    codes = []
    for number in range(1, 9):  # the job has four rounds; a coordinator that asks for more gets a refusal
        if number == 5:
            monkeypatch.setattr(trainer, "private_steps", lambda *a, **n: pytest.fail("trained beyond the budget"))
        codes.append(code_of(asked.read(number=number)))
    assert codes == [""] * 4 + ["E201"] * 4 and spent(asked) <= 4.0


def test_the_operator_s_limit_counts_over_all_jobs_on_the_data_set(site: MakeSite) -> None:
    limit = {"epsilon-limit": 3.9, "dataset": "cohort"}
    first = site(**PRIVATE, node=limit)
    assert [code_of(first.read(number=number)) for number in (1, 2)] == ["", ""]
    before = spent(first, "cohort")
    other = site(**PRIVATE, node=limit, local__lr=0.05)  # another job, the same store and data set
    codes = [code_of(other.read(number=number)) for number in (1, 2, 3, 4)]
    assert codes[0] == "" and codes[-1] == "E201"
    assert before < spent(first, "cohort") <= 3.9


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_a_job_without_privacy_cannot_switch_the_operator_s_limit_off(
    kind: str, site: MakeSite, rings: MakeTask
) -> None:
    task = rings()
    asked = site(task, node={"epsilon-limit": 3.9})
    assert code_of(asked.read(kind=kind)) == "E203" and task.reads == 0
    assert code_of(asked.read(kind=kind, **{"epsilon-limit": None})) != "E203"


def test_a_site_takes_part_in_the_job_that_its_operator_approved_and_in_no_other(
    site: MakeSite, rings: MakeTask
) -> None:
    task = rings()
    other = site(task, node={"approved-job": "0" * 64})
    assert code_of(other.read()) == "E202" and task.reads == 0
    digest = site(rings()).job.digest()
    assert code_of(site(rings(), node={"approved-job": digest.upper()}).read()) == ""
    assert code_of(site(rings(), node={"approved-job": digest}, **PRIVATE).read()) == "E202"


def test_asking_the_same_simulated_round_again_releases_the_same_and_costs_nothing(site: MakeSite) -> None:
    asked = site(**PRIVATE)
    first = asked.read()
    once = spent(asked)
    again = asked.read()
    assert first.update is not None and again.update is not None
    assert first.update.tobytes() == again.update.tobytes() and spent(asked) == once


def test_without_a_seed_the_noise_is_the_operating_system_s_and_every_answer_costs(site: MakeSite) -> None:
    asked = site(**PRIVATE, node={"simulation-seed": None})
    first, again = asked.read(), asked.read()
    assert first.update is not None and again.update is not None and first.randomness == "operating system generator"
    assert first.update.tobytes() != again.update.tobytes()
    assert first.attestation is not None and again.attestation is not None
    assert first.attestation.spent_epsilon < again.attestation.spent_epsilon


def test_a_ledger_that_cannot_be_written_means_no_training(
    site: MakeSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder", encoding="utf-8")
    asked = site(**PRIVATE, node={"site-store": str(blocked / "store")})
    monkeypatch.setattr(trainer, "private_steps", lambda *a, **n: pytest.fail("trained without a ledger"))
    assert code_of(asked.read()) == "E504"


def batch_norm() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))


def test_batch_norm_under_privacy_is_refused_and_costs_nothing(
    site: MakeSite, rings: MakeTask, caplog: pytest.LogCaptureFixture
) -> None:
    asked = site(rings(build=batch_norm), **PRIVATE)
    with caplog.at_level(logging.WARNING, logger="hedgerow"):
        assert code_of(asked.read()) == "E130"
    assert "GroupNorm" in caplog.text and "make_private_model" in caplog.text and spent(asked) == 0


def test_integer_buffers_start_anew_each_round_and_are_no_part_of_the_update(site: MakeSite, rings: MakeTask) -> None:
    seen: list[int] = []

    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = batch_norm()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(int(self.inner[1].num_batches_tracked))  # type: ignore[index]
            out: torch.Tensor = self.inner(x)
            return out

    asked = site(rings(build=Counting))
    assert not any("num_batches" in name for name in asked.layout.names)
    assert any("running_mean" in name for name in asked.layout.names)
    replies = [asked.read(number=1), asked.read(number=2), asked.read(number=1)]
    assert seen == [0, 1, 2] * 3
    first, _, again = (reply.update for reply in replies)
    assert first is not None and again is not None and first.tobytes() == again.tobytes()


def test_a_buffer_that_the_model_replaces_is_read_and_starts_anew_too(site: MakeSite, rings: MakeTask) -> None:
    """Many modules write `self.seen = self.seen + 1` where torch's own add in place."""

    class Replacing(torch.nn.Module):
        seen: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(2, 2)
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen = self.seen + 1
            out: torch.Tensor = self.inner(x)
            return out

    asked = site(rings(build=Replacing))
    assert asked.layout.names[0] == "seen"
    updates = [asked.read(number=1).update for _ in range(2)]
    assert [None if update is None else update[0] for update in updates] == [3.0, 3.0]


def test_the_moments_of_an_optimiser_do_not_outlive_the_round(site: MakeSite) -> None:
    for optimizer in ({"local__momentum": 0.9}, {"local__optimizer": "adam", "local__lr": 0.01}):
        asked = site(**optimizer)
        first = asked.read(number=1).update
        asked.read(number=2, model=asked.start * 5)
        again = asked.read(number=1).update
        assert first is not None and again is not None and first.tobytes() == again.tobytes()


def test_fedprox_keeps_the_site_closer_to_the_model_it_was_sent(site: MakeSite) -> None:
    norms = []
    for mu in (0.0, 3.0):
        update = site(local__proximal=mu, local__epochs=5).read().update
        norms.append(float(np.linalg.norm(update)))
    assert norms[1] < norms[0]


def test_labels_out_of_range_are_the_site_s_failure_not_the_run_s(site: MakeSite, rings: MakeTask) -> None:
    class Wrong(Task):
        def model(self) -> torch.nn.Module:
            model: torch.nn.Module = rings().model()
            return model

        def data(self, site: Site) -> Data:
            data = rings().data(site)
            return Data(Split(data.train.x, data.train.y + 9), data.test)

    assert code_of(site(Wrong()).read()) == "E308"


def test_the_settings_of_a_job_come_back_from_the_run_configuration(site: MakeSite) -> None:
    asked = site()
    assert Job.from_flat(asked.config) == asked.job


def test_what_another_job_released_is_never_in_an_average(site: MakeSite) -> None:
    """Runs are named by coordinators, so two may have one name; one job's updates may be without noise."""
    first = site(local__update_momentum=0.5)
    other = site(local__update_momentum=0.5, local__epochs=2)
    assert first.store == other.store
    alone = other.read(number=2).update
    first.read(number=1)
    beside = other.read(number=2).update
    assert alone is not None and beside is not None and alone.tobytes() == beside.tobytes()


def test_an_update_that_was_not_released_is_in_no_later_average(
    site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = site(local__update_momentum=0.5, **PRIVATE)

    def refuse(*given: object) -> None:
        raise Refused("E204", "the charge was voided")

    with monkeypatch.context() as patched:
        patched.setattr("hedgerow.client.trainer.Ledger.release", refuse)
        assert code_of(asked.read(number=1)) == "E204"
    assert not list(asked.store.rglob("*.safetensors"))
    assert asked.read(number=2).update is not None
