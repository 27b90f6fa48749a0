"""The variables that Flower's processes get, and where its commands come from."""

from pathlib import Path

import pytest

from hedgerow.errors import Misconfigured
from hedgerow.simulations.local.environment import flower_environment, interpreter_commands


def test_what_protects_cannot_be_switched_off_by_variables() -> None:
    wanted = {"FLWR_TELEMETRY_ENABLED": "1", "FLWR_DISABLE_UPDATE_CHECK": "0", "A": "b"}
    given = flower_environment(wanted, wanted, Path("/x"))
    assert given["FLWR_TELEMETRY_ENABLED"] == "0" and given["FLWR_DISABLE_UPDATE_CHECK"] == "1" and given["A"] == "b"


def test_the_callers_variables_win_over_the_inherited_ones_and_the_commands_come_first_on_the_path() -> None:
    given = flower_environment({"A": "1", "PATH": "/usr/bin"}, {"A": "2"}, Path("/x"))
    assert given["A"] == "2" and given["PATH"] == "/x:/usr/bin"


def test_commands_come_from_the_running_interpreter_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(Misconfigured, match="E107.*hedgerow"):
        interpreter_commands()
    for name in (
        "flower-superlink",
        "flower-supernode",
        "flower-superexec",
        "flwr",
        "flwr-serverapp",
        "flwr-clientapp",
    ):
        (tmp_path / name).touch()
    assert interpreter_commands() == tmp_path
