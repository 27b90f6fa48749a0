"""Flower's own commands as steps: a SuperLink, its registered sites, their SuperNodes, a run, and how it ended.

Each step starts what it needs and returns when a condition holds (a verified TLS answer, a line in a log), never after
a fixed wait.
"""

import json
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hedgerow.errors import Exhausted, HedgerowError, Misconfigured
from hedgerow.settings import Scalar
from hedgerow.simulations.local.certificates import Certificates
from hedgerow.simulations.local.processes import POLL, Process, Processes, free_port
from hedgerow.simulations.local.run_config import toml_text

__all__ = [
    "Ground",
    "Site",
    "Stopped",
    "Watch",
    "register",
    "run_status",
    "start_run",
    "start_sites",
    "start_superlink",
]

TRIES = 5
TAKEN = "address already in use"
ONLINE = re.compile(r"SuperNode ID: \d+")


class Stopped(Exception):
    """The caller set the stop event."""


class Watch:
    """How long the caller is willing to wait, and whether it still wants the run."""

    def __init__(
        self, seconds: float, stop: threading.Event, *, place: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds, self._stop, self._place = seconds, stop, place
        self._clock, self._start = clock, clock()

    @property
    def elapsed(self) -> float:
        return self._clock() - self._start

    def pause(self) -> None:
        """Wait a moment before looking again.

        Raises:
            Stopped: the caller wants an end. Exhausted: E505 the time is up.
        """
        if self._stop.wait(POLL):
            raise Stopped
        if self.elapsed > self._seconds:
            raise Exhausted(
                "E505",
                f"the local federation did not finish in {self._seconds:g} s",
                place=self._place,
                hint="the logs say what it was waiting for; too few sites for the job's quorum wait for ever",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One site: its name, its private folder, what its SuperNode is told, and the `PATH` entries of its own."""

    name: str
    process: str
    folder: Path
    node_config: Mapping[str, Scalar]
    key: Path
    public_key: Path
    commands: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What all steps share: whose processes, which keys, where the state lies, which commands, whose patience."""

    processes: Processes
    certificates: Certificates
    private: Path
    app: Path
    commands: Path
    path: str
    site_environment: Mapping[str, str]
    watch: Watch

    def command(self, name: str) -> Path:
        return self.commands / name


def start_superlink(ground: Ground) -> str:
    """Start the SuperLink, wait until it answers with our certificate, and return its address.

    Raises:
        Misconfigured: E114 no port could be had. HedgerowError: E902 it ended early.
    """
    for _ in range(TRIES):
        port = free_port()
        superlink = ground.processes.start(
            "superlink",
            [
                ground.command("flower-superlink"), "--host", "127.0.0.1", "--port", str(port),
                "--ssl-ca-certfile", ground.certificates.authority,
                "--ssl-certfile", ground.certificates.server,
                "--ssl-keyfile", ground.certificates.server_key,
                "--enable-supernode-auth", "--disable-runtime-dependency-installation",
                "--database", ground.private / "superlink.sqlite",
            ],
            stage="superlink",
            label="the SuperLink",
            folder=ground.app,
        )  # fmt: skip
        while not _lost_the_port(ground, superlink):
            if _answers(port, ground.certificates.authority):
                _write_connection(ground, f"127.0.0.1:{port}")
                return f"127.0.0.1:{port}"
            ground.watch.pause()
    raise _no_port("the SuperLink")


def register(ground: Ground, sites: Sequence[Site]) -> None:
    """Make the sites' public keys known to the SuperLink: nobody else can join.

    Raises:
        HedgerowError: E902 Flower refused a key.
    """
    width = os.cpu_count() or 1
    for start in range(0, len(sites), width):
        batch = [
            ground.processes.start(
                f"register-{site.process}",
                [ground.command("flwr"), "supernode", "register", site.public_key, "lab", f"--name={site.name}"],
                stage="register",
                label=f"registering site '{site.name}'",
            )
            for site in sites[start : start + width]
        ]
        for process in batch:
            while not process.ended:
                ground.watch.pause()
            if process.popen.returncode != 0:
                raise process.early_end()
            ground.processes.forget(process)


def start_sites(ground: Ground, sites: Sequence[Site], address: str) -> None:
    """Start every site's SuperNode and wait until the SuperLink has accepted all of them.

    Raises:
        Misconfigured: E114 no port could be had. HedgerowError: E902 one ended early.
    """
    waiting = {site.process: (site, _start_site(ground, site, address), 1) for site in sites}
    while waiting:
        for name, (site, process, tries) in list(waiting.items()):
            if _lost_the_port(ground, process):
                if tries == TRIES:
                    raise _no_port(f"site '{site.name}'")
                waiting[name] = (site, _start_site(ground, site, address), tries + 1)
            elif ONLINE.search(process.text()):
                del waiting[name]
        if waiting:
            ground.watch.pause()


def start_run(ground: Ground, app: Path, values: Mapping[str, Scalar], on_line: Callable[[str], None]) -> Process:
    """Submit the app and stream its ServerApp's log to `on_line`."""
    command: list[str | Path] = [ground.command("flwr"), "run", app, "lab", "--stream"]
    if values:
        overrides = ground.private / "run.toml"
        overrides.write_text(toml_text(values), encoding="utf-8")
        command += ["-c", overrides]
    return ground.processes.start("run", command, stage="run", label="following the run", on_line=on_line)


def run_status(ground: Ground, run_id: int) -> tuple[str, str]:
    """What the SuperLink says of a run: `finished:completed`, `finished:failed`, `running`, …, and its details."""
    process = ground.processes.start(
        "status", [ground.command("flwr"), "ls", "lab", "--run-id", str(run_id), "--format", "json"], stage="status"
    )
    while not process.ended:
        ground.watch.pause()
    try:
        run = json.loads(process.text()[process.text().index("{") :])["runs"][0]
        status, details = str(run["status"]), str(run["status-details"])
    except (ValueError, LookupError, TypeError):
        raise process.early_end() from None
    ground.processes.forget(process)
    return status, details


def _start_site(ground: Ground, site: Site, address: str) -> Process:
    told = site.folder / "node.toml"
    told.write_text(toml_text(site.node_config), encoding="utf-8")
    return ground.processes.start(
        site.process,
        [
            ground.command("flower-supernode"), "--superlink", address,
            "--root-certificates", ground.certificates.authority,
            "--auth-supernode-private-key", site.key,
            "--node-config", told, "--host", "127.0.0.1", "--port", str(free_port()),
        ],
        stage="sites",
        label=f"site '{site.name}'",
        environment={
            **ground.site_environment,
            "FLWR_HOME": str(site.folder / "home"),  # sites that unpack the app into one folder race for it
            "PATH": os.pathsep.join([*(str(entry) for entry in site.commands), ground.path]),
        },
        folder=ground.app,
    )  # fmt: skip


def _lost_the_port(ground: Ground, process: Process) -> bool:
    """Whether it ended because another process took its port first; any other early end is an error."""
    if not process.ended:
        return False
    if TAKEN not in process.text():
        raise process.early_end()
    ground.processes.forget(process)
    return True


def _answers(port: int, authority: Path) -> bool:
    """Whether the SuperLink with our certificate, and no other server, answers at the port."""
    context = ssl.create_default_context(cafile=str(authority))
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as plain:
            with context.wrap_socket(plain, server_hostname="127.0.0.1"):
                return True
    except OSError:
        return False


def _write_connection(ground: Ground, address: str) -> None:
    authority = json.dumps(str(ground.certificates.authority))
    home = ground.private / "home"
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "lab"\n\n[superlink.lab]\naddress = "{address}"\nroot-certificates = {authority}\n',
        encoding="utf-8",
    )


def _no_port(who: str) -> HedgerowError:
    return Misconfigured(
        "E114", f"no free port for {who}: {TRIES} ports were taken before it could use them", hint="try again"
    )
