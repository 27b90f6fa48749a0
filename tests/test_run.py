"""Tests of hedgerow.run: what Python sees of a run, also of one that stopped, went on, or was damaged."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from hedgerow.errors import Misconfigured, Tampered
from hedgerow.eventlog import EventLog
from hedgerow.events import (
    BudgetsSpent,
    Evaluated,
    Event,
    GateChecked,
    LeakageMeasured,
    RoundVoided,
    RunFinished,
    RunResumed,
)
from hedgerow.job import Job, Privacy, Secure
from hedgerow.run import Run
from hedgerow.runs import RunFolder
from hedgerow.task import Data, Site, Task
from hedgerow.update import Layout


class Linear(Task):
    def __init__(self, outputs: int = 2) -> None:
        self.outputs = outputs

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(3, self.outputs), nn.BatchNorm1d(self.outputs))

    def data(self, site: Site) -> Data:
        raise AssertionError("a run that is over asks for no data")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    job = Job(privacy=Privacy(unit="none"), secure=Secure(mode="off"))
    return RunFolder.create(tmp_path, job=job, scenario=None, engine="in-process", task="linear", name="a")


def tell(folder: RunFolder, *events: Event) -> Run:
    log = EventLog(folder.events)
    for event in events:
        log.append(event)
    return Run(folder.path)


def evaluated(number: int, accuracy: float) -> Evaluated:
    return Evaluated(round=number, where="server", records=9, metrics={"accuracy": accuracy}, low=None, high=None)


def spent(number: int, epsilon: float, site: str = "a") -> BudgetsSpent:
    return BudgetsSpent(round=number, epsilon={site: epsilon})


def finished(status: str) -> RunFinished:
    return RunFinished(status=status, rounds=2, final={}, model_sha256="", epsilon={}, seconds=1.0)


STOPPED = (
    evaluated(0, 0.1),
    evaluated(1, 0.2),
    spent(1, 1.0),
    evaluated(2, 0.9),
    spent(2, 2.0),
    LeakageMeasured(result={"auc": 0.9}),
    GateChecked(gate="auc <= 0.5", passed=False, text=""),
    finished("failed"),
)


def test_a_run_without_events_is_unfinished_and_shows_itself(folder: RunFolder) -> None:
    run = Run(folder.path)
    assert (run.status, run.history, run.final, run.epsilon, run.leakage) == ("unfinished", (), {}, {}, ())
    assert (run.rounds, run.model_sha256, run.name) == (0, "", "a")
    assert repr(run) == "<Run a: unfinished, 0 rounds, >"
    assert "iframe" in run._repr_html_()


def test_after_a_resume_only_what_still_counts_is_seen(folder: RunFolder) -> None:
    run = tell(folder, *STOPPED, RunResumed(after_round=1), evaluated(2, 0.3), LeakageMeasured(result={"auc": 0.5}))
    assert [(entry["round"], entry["accuracy"]) for entry in run.history] == [(0, 0.1), (1, 0.2), (2, 0.3)]
    assert run.final == {"accuracy": 0.3}
    assert [result["auc"] for result in run.leakage] == [0.5]
    assert run.events("gate-checked") == ()
    assert run.status == "unfinished"
    assert len(run.events("run-resumed")) == 1


def test_a_run_that_was_resumed_and_stopped_again_does_not_show_the_lost_rounds(folder: RunFolder) -> None:
    run = tell(folder, *STOPPED, RunResumed(after_round=1))
    assert [entry["round"] for entry in run.history] == [0, 1]
    assert run.final == {"accuracy": 0.2}


def test_what_a_superseded_round_spent_stays_spent(folder: RunFolder) -> None:
    assert tell(folder, *STOPPED, RunResumed(after_round=1)).epsilon == {"a": 2.0}
    assert tell(folder, spent(2, 1.5), spent(2, 0.5, "b")).epsilon == {"a": 2.0, "b": 0.5}


def test_a_spending_that_has_no_bound_is_infinite_and_not_nothing(folder: RunFolder) -> None:
    assert tell(folder, spent(1, math.inf), spent(2, 2.0)).epsilon == {"a": math.inf}


def test_of_each_site_the_most_that_was_told_counts(folder: RunFolder) -> None:
    together = [
        BudgetsSpent(round=1, epsilon={"a": 1.0, "b": math.inf}),
        RunResumed(after_round=0),
        BudgetsSpent(round=1, epsilon={"a": 0.5, "c": 0.5}),
    ]
    assert tell(folder, *together, spent(2, 0.75, "c")).epsilon == {"a": 1.0, "b": math.inf, "c": 0.75}


@pytest.mark.parametrize("status", ["finished", "interrupted", "failed"])
def test_the_status_is_the_last_word(folder: RunFolder, status: str) -> None:
    assert tell(folder, evaluated(0, 0.1), finished(status)).status == status


def test_a_last_word_that_was_torn_leaves_the_run_unfinished(folder: RunFolder) -> None:
    tell(folder, evaluated(0, 0.1), finished("finished"))
    folder.events.write_bytes(folder.events.read_bytes()[:-5])
    assert Run(folder.path).status == "unfinished"


def test_a_metric_that_is_no_number_is_shown_as_such(folder: RunFolder) -> None:
    run = tell(folder, evaluated(1, math.nan))
    assert repr(run) == "<Run a: unfinished, 0 rounds, accuracy —>"


def test_rounds_is_the_last_one_that_released_a_model(folder: RunFolder) -> None:
    model = Linear().model()
    layout = Layout.of(model)
    for number in (0, 1, 3):
        folder.save(number, layout, layout.flatten(model) + number, {})
    run = tell(folder, RoundVoided(round=2, code="E501", reason="", rejected=()))
    assert run.rounds == 3
    assert run.model_sha256 == folder.rounds()[3]


def test_the_final_model_is_the_checkpoint_in_the_tasks_architecture(folder: RunFolder) -> None:
    model = Linear().model()
    layout = Layout.of(model)
    folder.save(1, layout, layout.flatten(model), {})
    found = Run(folder.path).model(Linear())
    assert all(torch.equal(left, right) for left, right in zip(found.parameters(), model.parameters(), strict=True))


def test_another_tasks_model_is_refused(folder: RunFolder) -> None:
    model = Linear().model()
    layout = Layout.of(model)
    with pytest.raises(Tampered):
        Run(folder.path).model(Linear())
    folder.save(1, layout, layout.flatten(model), {})
    with pytest.raises(Misconfigured) as caught:
        Run(folder.path).model(Linear(outputs=3))
    assert caught.value.code == "E113"


def test_the_report_is_shown_as_a_page_of_its_own_and_its_words_stay_words(folder: RunFolder) -> None:
    run = Run(folder.path)
    run.report.write_text('<p title="x">ε & δ</p>', encoding="utf-8")
    page = run._repr_html_()
    assert 'srcdoc="&lt;p title=&quot;x&quot;&gt;ε &amp; δ&lt;/p&gt;"' in page


def test_a_damaged_log_is_said_to_be_and_not_half_read(folder: RunFolder) -> None:
    tell(folder, evaluated(0, 0.1), evaluated(1, 0.2))
    folder.events.write_bytes(b"{\n" + folder.events.read_bytes())
    with pytest.raises(Tampered) as caught:
        _ = Run(folder.path).history
    assert caught.value.code == "E403"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        Run(tmp_path / "nothing")
    assert caught.value.code == "E112"
