"""The contract with Flower's internals: what stands in `flowercompat` must hold in the installed version."""

import importlib.metadata
import importlib.util
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from hedgerow import flowercompat
from hedgerow.errors import Misconfigured
from hedgerow.flowercompat import empty_run, load_component, name_message, over_the_wire, quiet_flower, task_identity


@pytest.fixture
def sys_path() -> Iterator[None]:
    """Loading an app changes the import path and keeps its modules; both are put back."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def import_again() -> None:
    spec = importlib.util.spec_from_file_location("flowercompat_again", flowercompat.__file__)
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_this_version_of_flower_is_accepted() -> None:
    import_again()


@pytest.mark.parametrize("installed", ["1.40.9", "1.42.0", "1.410.0", "2.0.0"])
def test_another_version_of_flower_is_refused_with_the_command_that_helps(
    installed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: installed)
    with pytest.raises(Misconfigured) as caught:
        import_again()
    assert caught.value.code == "E107" and installed in caught.value.message and "1.41" in caught.value.hint


def test_the_task_identity_holds_inside_and_is_restored_also_after_an_error() -> None:
    before = TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id
    with pytest.raises(ZeroDivisionError):
        with task_identity(run_id=11, node_id=12, task_id=13):
            assert (TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id) == (11, 12, 13)
            metadata = Message(RecordDict(), 5, "train").metadata
            assert (metadata.run_id, metadata.src_node_id, metadata.dst_node_id) == (11, 12, 5)
            with task_identity(run_id=21, node_id=22, task_id=23):
                assert TaskIdentity.run_id == 21
            assert TaskIdentity.run_id == 11
            raise ZeroDivisionError
    assert (TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id) == before


def test_a_message_and_its_reply_survive_the_serialisation() -> None:
    with task_identity(run_id=1, node_id=2, task_id=3):
        values = np.array([[1.5, -0.0], [np.inf, 1e-45]], np.float32)
        content = RecordDict(
            {
                "arrays": ArrayRecord({"z": Array(values), "a": Array(np.array(7))}),
                "config": ConfigRecord({"text": "ä", "bytes": b"\x00", "flag": True, "many": [1, 2]}),
                "metrics": MetricRecord({"x": 0.1, "n": 3}),
            }
        )
        sent = Message(content, 9, "train", ttl=5.0, group_id="4")
        name_message(sent, "the id")
        arrived = over_the_wire(sent)
        assert arrived is not sent and arrived.metadata == sent.metadata
        assert arrived.metadata.message_id == "the id"
        assert list(arrived.content.array_records["arrays"]) == ["z", "a"]
        assert arrived.content.array_records["arrays"]["z"].numpy().tobytes() == values.tobytes()
        assert arrived.content.config_records["config"] == content.config_records["config"]
        assert arrived.content.metric_records["metrics"] == content.metric_records["metrics"]
        reply = Message(Error(flowercompat.CLIENT_APP_RAISED, "constant"), reply_to=arrived)
        name_message(reply, "another")
        back = over_the_wire(reply)
        assert back.has_error() and back.error.reason == "constant"
        assert back.metadata.reply_to_message_id == "the id" and back.metadata.src_node_id == 9


def test_an_empty_run_has_its_number() -> None:
    assert empty_run(17).run_id == 17


def test_flower_s_code_for_a_raising_app_is_the_documented_one() -> None:
    assert flowercompat.CLIENT_APP_RAISED == 2


def test_a_component_is_loaded_from_an_app_folder(tmp_path: Path, sys_path: None) -> None:
    (tmp_path / "contract_app_one.py").write_text("class Inner:\n    app = 'the app'\n", encoding="utf-8")
    assert load_component("contract_app_one:Inner.app", tmp_path) == "the app"


@pytest.mark.parametrize(
    ("reference", "source"),
    [
        ("contract_app_two", "app = 1"),
        ("contract_app_two:", "app = 1"),
        ("contract_app_missing:app", "app = 1"),
        ("contract_app_two:other", "app = 1"),
        ("contract_app_two:app", "raise ValueError('no good')"),
        ("contract_app_two:app", "def broken(:"),
        ("contract_app_two:app", "import a_module_nobody_has"),
        ("contract_app_two:app", "raise SystemExit(3)"),
    ],
)
def test_a_component_that_cannot_be_loaded_is_a_misconfiguration(
    reference: str, source: str, tmp_path: Path, sys_path: None
) -> None:
    (tmp_path / "contract_app_two.py").write_text(source, encoding="utf-8")
    with pytest.raises(Misconfigured) as caught:
        load_component(reference, tmp_path)
    assert caught.value.code == "E111"
    assert reference in caught.value.message and caught.value.place == str(tmp_path)


def test_an_app_s_own_misconfiguration_is_passed_on(tmp_path: Path, sys_path: None) -> None:
    source = "from hedgerow.errors import Misconfigured\nraise Misconfigured('E120', 'no data')\n"
    (tmp_path / "contract_app_three.py").write_text(source, encoding="utf-8")
    with pytest.raises(Misconfigured) as caught:
        load_component("contract_app_three:app", tmp_path)
    assert caught.value.code == "E120"


def test_flower_s_log_is_quiet_inside_and_as_before_afterwards() -> None:
    logger = logging.getLogger("flwr")
    before = logger.level
    with quiet_flower():
        assert not logger.isEnabledFor(logging.INFO) and logger.isEnabledFor(logging.WARNING)
    assert logger.level == before
