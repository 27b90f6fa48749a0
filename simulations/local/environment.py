"""Where Flower's commands come from, and the variables they get: private, offline, and of this interpreter."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from hedgerow.errors import Misconfigured

__all__ = ["flower_environment", "interpreter_commands"]

COMMANDS = ("flower-superlink", "flower-supernode", "flower-superexec", "flwr", "flwr-serverapp", "flwr-clientapp")
ALWAYS = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "PYTHONUNBUFFERED": "1",
}
LOOPBACK = "127.0.0.1,localhost"


def interpreter_commands() -> Path:
    """The folder of this interpreter's own commands, so that no other Flower is started by accident.

    Raises:
        Misconfigured: E107 if Flower is not installed beside it.
    """
    folder = Path(sys.executable).parent
    for name in COMMANDS:
        if not (folder / name).is_file():
            raise Misconfigured(
                "E107",
                f"Flower's command '{name}' is not installed beside this Python",
                place=str(folder),
                hint="pip install 'hedgerow[full]'",
            )
    return folder


def flower_environment(inherited: Mapping[str, str], extra: Mapping[str, str], commands: Path) -> dict[str, str]:
    """What every process gets: the caller's variables, and on top what keeps Flower private, offline and unbuffered.

    A proxy set for the machine is told to leave the loopback addresses alone.
    """
    given = {**inherited, **extra}
    others = [given[name] for name in ("no_proxy", "NO_PROXY") if given.get(name)]
    direct = ",".join([LOOPBACK, *others])
    return {
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.25",
        **given,
        **ALWAYS,
        "no_proxy": direct,
        "NO_PROXY": direct,
        "PATH": os.pathsep.join([str(commands), given.get("PATH", os.defpath)]),
    }
