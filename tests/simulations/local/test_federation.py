"""One call starts a federation, follows it to its end, and leaves nothing behind but logs."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hedgerow.errors import Exhausted, HedgerowError, Misconfigured
from hedgerow.simulations.local import LocalOutcome, run_local

Trace = Callable[[], list[dict[str, Any]]]
Running = Callable[[int], bool]
NAMES = ("north", "south")
pytestmark = pytest.mark.usefixtures("fake_flower")


def start(
    app: Path,
    folder: Path,
    *,
    names: Sequence[str] = NAMES,
    run_config: Mapping[str, str | int | float | bool] | None = None,
    **more: Any,
) -> LocalOutcome:
    return run_local(
        app,
        folder=folder,
        sites=2,
        run_config=run_config or {},
        site_names=names,
        node_config=lambda site: {"partition-id": site, "note": f'it\'s "{site}"'},
        **{"timeout": 60, **more},
    )


@pytest.fixture
def all_gone(fake_flower: Trace, running: Running) -> Callable[[], bool]:
    return lambda: not [line for line in fake_flower() if running(line["pid"])]


def test_a_run_is_followed_to_its_end_and_leaves_only_logs(
    app: Path, tmp_path: Path, all_gone: Callable[[], bool]
) -> None:
    lines: list[str] = []
    outcome = start(app, tmp_path / "run", on_line=lines.append)
    assert (outcome.status, outcome.run_id, outcome.lost) == ("finished", 42, ())
    assert lines == ["INFO :      [ROUND 1/1]", "last line"] and outcome.tail == tuple(lines)
    assert 0 < outcome.seconds_to_ready <= outcome.seconds_total
    assert all_gone()
    left = {path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob("*")}
    assert left == {"logs", "logs/superlink.log", "logs/site-0.log", "logs/site-1.log", "logs/run.log"}


def test_every_process_is_private_offline_and_on_loopback(
    app: Path, tmp_path: Path, fake_flower: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "1")
    monkeypatch.setenv("NO_PROXY", "example.org")
    start(app, tmp_path / "run", environment={"FLWR_DISABLE_UPDATE_CHECK": "0", "MORE": "yes"})
    for line in fake_flower():
        given = line["environment"]
        assert given["FLWR_TELEMETRY_ENABLED"] == "0" and given["FLWR_DISABLE_UPDATE_CHECK"] == "1"
        assert given["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"
        assert given["MORE"] == "yes" and given["NO_PROXY"] == "127.0.0.1,localhost,example.org"
        assert Path(given["FLWR_HOME"]).is_relative_to(tmp_path / "run")
        assert given["PATH"].split(os.pathsep)[0] == str(tmp_path / "commands")
        for word, value in zip(line["words"], line["words"][1:], strict=False):
            assert word != "--host" or value == "127.0.0.1"
            assert word != "--superlink" or value.startswith("127.0.0.1:")
    superlink = next(line["words"] for line in fake_flower() if line["kind"] == "superlink")
    assert {"--enable-supernode-auth", "--ssl-certfile", "--database"} <= set(
        superlink
    ) and "--insecure" not in superlink


def test_each_site_has_its_own_key_home_and_configuration(app: Path, tmp_path: Path, fake_flower: Trace) -> None:
    start(app, tmp_path / "run")
    sites = [line for line in fake_flower() if line["kind"] == "site"]
    assert {line["environment"]["OMP_NUM_THREADS"] for line in sites} == {"1"}
    for option in ("--auth-supernode-private-key", "--node-config", "--port"):
        assert len({line["words"][line["words"].index(option) + 1] for line in sites}) == 2
    assert len({line["environment"]["FLWR_HOME"] for line in sites}) == 2
    told = {line["kind"] for line in fake_flower() if line["kind"].startswith("told")}
    assert told == {
        f'told {{"partition-id": {site}, "note": "it\'s \\"{site}\\""}}' for site in range(2)
    }  # as the stand-in read it back
    registered = [line["words"] for line in fake_flower() if line["kind"] == "register"]
    assert {words[-1] for words in registered} == {"--name=north", "--name=south"}


def test_only_the_hostile_site_finds_the_attack_first_on_its_path(
    app: Path, tmp_path: Path, fake_flower: Trace
) -> None:
    start(app, tmp_path / "run", hostile={1: "sign-flip:4.0"})
    paths = {
        line["words"][line["words"].index("--node-config") + 1].split("/")[-2]: line["environment"]["PATH"]
        for line in fake_flower()
        if line["kind"] == "site"
    }
    assert paths["site-1"].split(os.pathsep) == [
        str(tmp_path / "run" / "flower" / "site-1" / "bin"),
        *paths["site-0"].split(os.pathsep),
    ]


@pytest.mark.parametrize(
    ("mode", "code", "words"),
    [
        ("taken", "E114", "no free port for the SuperLink"),
        ("refuses", "E111", "Flower refused the app: Error no such key"),
        ("no-register", "E902", "registering site 'north' ended with exit status 1"),
        ("site-dies", "E902", "site 'south' ended with exit status 1"),
    ],
)
def test_what_goes_wrong_is_named_and_nothing_is_left(
    app: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    all_gone: Callable[[], bool],
    mode: str,
    code: str,
    words: str,
) -> None:
    monkeypatch.setenv("FAKE_MODE", mode)
    with pytest.raises(HedgerowError) as caught:
        start(app, tmp_path / "run")
    assert caught.value.code == code and words in caught.value.message
    assert all_gone() and not (tmp_path / "run" / "flower").exists()


def test_a_port_lost_to_another_process_is_replaced(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_flower: Trace
) -> None:
    monkeypatch.setenv("FAKE_MODE", "taken-once")
    assert start(app, tmp_path / "run").status == "finished"
    assert [line["kind"] for line in fake_flower()].count("superlink") == 2


def test_the_run_goes_on_without_a_site_that_may_be_lost(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MODE", "site-dies")
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if "south" in line:
            (tmp_path / "trace.jsonl.go-on").touch()

    outcome = start(app, tmp_path / "run", on_line=on_line, spare=1)
    assert (outcome.status, outcome.lost) == ("finished", ("south",))
    assert sum("south" in line for line in lines) == 1


def test_a_stream_that_breaks_while_the_run_goes_on_is_an_error(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, all_gone: Callable[[], bool]
) -> None:
    monkeypatch.setenv("FAKE_MODE", "stream-breaks")
    with pytest.raises(HedgerowError, match="E902 following the run ended"):
        start(app, tmp_path / "run")
    assert all_gone()


def test_an_app_that_raises_is_a_failed_run(app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_MODE", "app-fails")
    outcome = start(app, tmp_path / "run")
    assert (outcome.status, outcome.details) == ("failed", "failed: ValueError")


def test_the_stop_event_ends_a_run_as_interrupted(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, all_gone: Callable[[], bool]
) -> None:
    monkeypatch.setenv("FAKE_MODE", "waits")
    stop = threading.Event()
    outcome = start(app, tmp_path / "run", stop=stop, on_line=lambda line: stop.set())
    assert (outcome.status, outcome.run_id) == ("interrupted", 42)
    assert all_gone()


def test_an_interrupt_passes_through_and_nothing_is_left(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, all_gone: Callable[[], bool]
) -> None:
    monkeypatch.setenv("FAKE_MODE", "waits")

    def on_line(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(app, tmp_path / "run", on_line=on_line)
    assert all_gone() and not (tmp_path / "run" / "flower").exists()


def test_time_that_is_up_is_an_error(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, all_gone: Callable[[], bool]
) -> None:
    monkeypatch.setenv("FAKE_MODE", "waits")
    with pytest.raises(Exhausted, match="E505"):
        start(app, tmp_path / "run", timeout=1.5)
    assert all_gone()


def test_what_a_killed_run_left_is_replaced_but_a_strangers_folder_is_not(
    app: Path, tmp_path: Path, fake_flower: Trace
) -> None:
    private = tmp_path / "run" / "flower"
    private.mkdir(parents=True)
    (private / "mine").touch()
    with pytest.raises(Misconfigured, match="E115"):
        start(app, tmp_path / "run")
    assert (private / "mine").exists()
    (private / "owner").write_text("a mark that no process carries", encoding="utf-8")
    assert start(app, tmp_path / "run").status == "finished"
    assert not private.exists()


def test_a_folder_in_use_by_another_run_is_refused(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_flower: Trace
) -> None:
    monkeypatch.setenv("FAKE_MODE", "waits")
    codes: list[str] = []
    stop = threading.Event()

    def on_line(line: str) -> None:
        with pytest.raises(HedgerowError) as caught:
            start(app, tmp_path / "run")
        codes.append(caught.value.code)
        stop.set()

    assert start(app, tmp_path / "run", on_line=on_line, stop=stop).status == "interrupted"
    assert codes == ["E506"]


def test_keys_and_names_are_checked_before_anything_starts(app: Path, tmp_path: Path, fake_flower: Trace) -> None:
    with pytest.raises(Misconfigured, match="E101 unknown key 'rouns'.*did you mean 'rounds'"):
        start(app, tmp_path / "run", run_config={"rouns": 3})
    with pytest.raises(Misconfigured, match="E105"):
        start(app, tmp_path / "run", names=("north", "north"))
    with pytest.raises(Misconfigured, match="E110"):
        start(tmp_path / "nowhere", tmp_path / "run")
    assert not (tmp_path / "run").exists() and not (tmp_path / "trace.jsonl").exists()


def test_a_folder_that_cannot_be_written_is_an_error(app: Path, tmp_path: Path, fake_flower: Trace) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Exhausted, match="E504"):
        start(app, tmp_path / "file")
