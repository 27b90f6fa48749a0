"""Red teams: every attack on every defence of a job, on its own task, as one thing that can be stopped and resumed."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hedgerow.simulations.redteam.defences import Defence as Defence
    from hedgerow.simulations.redteam.folder import RedTeamFolder as RedTeamFolder
    from hedgerow.simulations.redteam.gate import Gate as Gate
    from hedgerow.simulations.redteam.result import RedTeam as RedTeam
    from hedgerow.simulations.redteam.running import attack as attack
    from hedgerow.simulations.redteam.running import resume_attack as resume_attack

_HOMES = {
    "Defence": "defences",
    "Gate": "gate",
    "RedTeam": "result",
    "RedTeamFolder": "folder",
    "attack": "running",
    "resume_attack": "running",
}

__all__ = ["Defence", "Gate", "RedTeam", "RedTeamFolder", "attack", "resume_attack"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
