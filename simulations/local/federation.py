"""A real Flower federation on this machine, from one call: started, watched, cleaned up, and offline.

What runs is what runs in production: Flower's own SuperLink with TLS, node authentication and SQLite, one SuperNode per
site, and a new process for each message. What differs is that all of it shares a machine, and that everything secret
(keys, the SuperLink's database, copies of the app) is removed when the run ends; only logs stay.
"""

import os
import queue
import re
import shutil
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

from hedgerow.disk import disk_errors
from hedgerow.errors import Exhausted, HedgerowError, Misconfigured
from hedgerow.settings import Scalar
from hedgerow.simulations.local import flower
from hedgerow.simulations.local.certificates import LIFETIME, Certificates, create_certificates
from hedgerow.simulations.local.environment import flower_environment, interpreter_commands
from hedgerow.simulations.local.hostile_clientapp import hostile_command
from hedgerow.simulations.local.processes import Process, Processes, marked_processes
from hedgerow.simulations.local.run_config import app_config, app_with, missing_keys

__all__ = ["LocalOutcome", "run_local"]

STARTED = re.compile(r"Successfully started run (\d+)")
NOISE = re.compile(r"Starting logstream for run_id")
BOX = re.compile(r"[─│╭╮╰╯]+")
TAIL = 50
NOTHING: Mapping[str, str] = MappingProxyType({})
NOBODY: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOutcome:
    """How a local run ended.

    `status` is `finished`, `failed` (the ServerApp raised; `details` and `tail` say why) or `interrupted` (the stop
    event was set). `tail` is the end of the ServerApp's log; `lost` are sites whose process ended during the run.
    """

    status: str
    run_id: int | None
    seconds_to_ready: float
    seconds_total: float
    details: str
    tail: tuple[str, ...]
    lost: tuple[str, ...]


def run_local(
    app: Path,
    *,
    folder: Path,
    sites: int,
    run_config: Mapping[str, Scalar],
    site_names: Sequence[str],
    node_config: Callable[[int], Mapping[str, Scalar]],
    hostile: Mapping[int, str] = NOBODY,
    environment: Mapping[str, str] = NOTHING,
    timeout: float = 1800,
    on_line: Callable[[str], None] = lambda line: None,
    stop: threading.Event | None = None,
    declare: Collection[str] = (),
    without: Collection[str] = (),
    spare: int = 0,
    seed: int = 0,
) -> LocalOutcome:
    """Run a Flower app folder on a SuperLink and `sites` SuperNodes of this machine, and leave nothing running.

    Args:
        app: a folder whose `pyproject.toml` has `[tool.flwr.app]`. Every process works in this folder.
        folder: the run's own folder: logs stay in `folder/logs`, secrets live in `folder/flower` until the end.
        run_config: replaces keys of the app's run configuration; keys in `declare` need not be stated there.
        without: keys that the apps must not find in their run configuration, though the app's own states them.
        node_config: what site i finds in `Context.node_config`.
        hostile: attacks by site index, such as `{2: "sign-flip:4.0"}`, with `seed` for those that draw.
        environment: added to the variables of all processes (ServerApp and ClientApps inherit them).
        timeout: seconds for everything, start included.
        on_line: called in this thread with each line of the ServerApp's log.
        stop: when set, the run ends as `interrupted`.
        spare: how many sites' processes may die before the run is given up.

    Raises:
        Misconfigured: E101 unknown key, E107 Flower is not installed, E110 or E111 not an app or one that Flower
            refuses, E114 no port could be had, E115 `folder/flower` is not ours.
        Exhausted: E503 or E504 the folder cannot be written, E505 time is up, E506 another run uses the folder.
        HedgerowError: E902 the SuperLink or more than `spare` sites ended early.
    """
    if sites < 1 or len(site_names) != sites or len(set(site_names)) != sites:
        raise Misconfigured("E105", f"{sites} sites need as many different names, not {list(site_names)}")
    app, folder = app.resolve(), folder.resolve()
    missing = missing_keys(run_config, app_config(app), declare)
    commands = interpreter_commands()
    watch = flower.Watch(timeout, stop or threading.Event(), place=str(folder / "logs"))
    private = folder / "flower"
    inherited = flower_environment(os.environ, environment, commands)
    shared = {**inherited, "FLWR_HOME": str(private / "home")}
    processes = Processes(logs=folder / "logs", environment=shared)
    with _private_folder(private, processes.mark), processes:
        lifetime = max(LIFETIME, timedelta(seconds=timeout) + LIFETIME)
        keys = create_certificates(private / "keys", sites=sites, lifetime=lifetime)
        members = [
            _site(private, keys, index, name, node_config(index), hostile.get(index), seed)
            for index, name in enumerate(site_names)
        ]
        ground = flower.Ground(
            processes=processes,
            certificates=keys,
            private=private,
            app=app,
            commands=commands,
            path=inherited["PATH"],
            site_environment={"OMP_NUM_THREADS": environment.get("OMP_NUM_THREADS", "1")},
            watch=watch,
        )
        config = _Config(values=run_config, missing=missing, without=without)
        return _run(ground, members, config, on_line, spare)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Config:
    """What the apps find in their run configuration: `values`, some `missing` from the app's own, and not `without`."""

    values: Mapping[str, Scalar]
    missing: Sequence[str]
    without: Collection[str]


class _Story:
    """What is heard of a run while it is followed."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.run_id: int | None = None
        self.tail: deque[str] = deque(maxlen=TAIL)
        self.lost: list[str] = []
        self._tell = tell

    def hear(self, line: str) -> None:
        """A line of `flwr run --stream`: the run's number first, then the ServerApp's log, which is passed on."""
        if self.run_id is None:
            started = STARTED.search(line)
            self.run_id = int(started[1]) if started else None
        elif not NOISE.search(line):
            self.tail.append(line)
            self._tell(line)

    def lose(self, site: str) -> None:
        if site not in self.lost:
            self.lost.append(site)
            self._tell(f"{site}: its process ended, the run goes on without it")


def _run(
    ground: flower.Ground,
    members: Sequence[flower.Site],
    config: _Config,
    on_line: Callable[[str], None],
    spare: int,
) -> LocalOutcome:
    story, ready = _Story(on_line), None
    try:
        address = flower.start_superlink(ground)
        flower.register(ground, members)
        flower.start_sites(ground, members, address)
        ready = ground.watch.elapsed
        additions = {key: config.values[key] for key in config.missing}
        app = app_with(ground.app, ground.private / "app", additions, config.without)
        details = _follow(ground, app, config.values, story, {site.process: site.name for site in members}, spare)
        status = "failed" if details else "finished"
    except flower.Stopped:
        status, details = "interrupted", ""
    ground.processes.stop()
    return LocalOutcome(
        status=status,
        run_id=story.run_id,
        seconds_to_ready=round(ground.watch.elapsed if ready is None else ready, 3),
        seconds_total=round(ground.watch.elapsed, 3),
        details=details,
        tail=tuple(story.tail),
        lost=tuple(story.lost),
    )


def _follow(
    ground: flower.Ground,
    app: Path,
    run_config: Mapping[str, Scalar],
    story: _Story,
    names: Mapping[str, str],
    spare: int,
) -> str:
    """Run the app and listen until it has ended; returns what went wrong in it, or nothing."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    run = flower.start_run(ground, app, run_config, lines.put)
    while True:
        last = run.ended and run.drained  # looked at before the lines, so that none can arrive in between
        for line in _taken(lines):
            story.hear(line)
        if last:
            break
        for process in _dead(ground.processes, spare):
            story.lose(names[process.name])
        ground.watch.pause()
    if story.run_id is None:
        raise _refused(run)
    status, details = flower.run_status(ground, story.run_id)
    if not status.startswith("finished"):
        raise run.early_end()
    return "" if status == "finished:completed" else f"{status.partition(':')[2]}: {details}"


def _site(
    private: Path,
    keys: Certificates,
    index: int,
    name: str,
    node_config: Mapping[str, Scalar],
    attack: str | None,
    seed: int,
) -> flower.Site:
    folder = private / f"site-{index}"
    folder.mkdir()
    commands: tuple[Path, ...] = ()
    if attack is not None:
        commands = (hostile_command(folder / "bin", attack=attack, seed=seed).parent,)
    return flower.Site(
        name=name,
        process=f"site-{index}",
        folder=folder,
        node_config=node_config,
        key=keys.node_keys[index],
        public_key=keys.node_public_keys[index],
        commands=commands,
    )


@contextmanager
def _private_folder(private: Path, mark: str) -> Iterator[None]:
    """A fresh folder for everything secret, removed at the end; one that a killed run left behind is replaced."""
    ours = private / "owner"
    with disk_errors("the folder", private):
        if private.exists():
            if not ours.is_file():
                raise Misconfigured("E115", "this folder is not of a local run", place=str(private))
            if marked_processes(ours.read_text(encoding="utf-8")):
                raise Exhausted("E506", "another local run uses this folder", place=str(private))
            shutil.rmtree(private)
        private.mkdir(mode=0o700, parents=True)
        ours.write_text(mark, encoding="utf-8")
    try:
        yield
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _taken(lines: "queue.SimpleQueue[str]") -> Iterator[str]:
    while True:
        try:
            yield lines.get_nowait()
        except queue.Empty:
            return


def _dead(processes: Processes, spare: int) -> tuple[Process, ...]:
    """The sites that ended, if the run can go on without them; else an error."""
    for process in processes.ended("superlink"):
        raise process.early_end()
    dead = processes.ended("sites")
    if len(dead) > spare:
        raise dead[-1].early_end()
    return dead


def _refused(run: Process) -> HedgerowError:
    """Flower did not accept the app: its own words, without the frame it draws around them."""
    said = " ".join(BOX.sub(" ", run.text()).split())
    return Misconfigured("E111", f"Flower refused the app: {said or 'it gave no reason'}", place=str(run.log))
