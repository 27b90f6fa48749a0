"""What `hedgerow report` and `hedgerow resume` do, by what the name stands for: a run, a sweep or a red team."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hedgerow.cli.outcome import find, find_run
from hedgerow.cli.simulating import Means
from hedgerow.run import Run
from hedgerow.simulations.redteam import RedTeam

__all__ = ["report_found", "resume_found"]


def report_found(runs: Path, name: str, others: Sequence[str]) -> tuple[Mapping[str, Any], str]:
    """Draw a report again, with other runs beside that of a run.

    Raises:
        Misconfigured: E112 no such name, E105 for other runs beside something else than a run.
    """
    from hedgerow.report import write_report

    found = find(runs, name)
    if isinstance(found, Run):
        page = write_report(found.path, [find_run(runs, other).path for other in others])
        return {"run": found.name, "report": str(page)}, str(page)
    if isinstance(found, RedTeam):
        from hedgerow.cli.attacking import report_attack

        return report_attack(found, others)
    from hedgerow.cli.sweeping import report_sweep

    return report_sweep(found, others)


def resume_found(runs: Path, name: str, means: Means, *, quiet: bool) -> tuple[Mapping[str, Any], str]:
    """Go on with what was stopped.

    Raises:
        Misconfigured: E112 no such name, E113 if its code cannot be found again, and as `Means`.
    """
    found = find(runs, name)
    if isinstance(found, Run):
        from hedgerow.cli.simulating import resume_run

        return resume_run(found, means, quiet=quiet)
    if isinstance(found, RedTeam):
        from hedgerow.cli.attacking import resume_attack_of

        return resume_attack_of(found, means, runs, quiet=quiet)
    from hedgerow.cli.sweeping import resume_sweep_of

    return resume_sweep_of(found, means, runs, quiet=quiet)
