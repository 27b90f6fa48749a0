"""`hedgerow demo`: one real job on real data, and the same job without each of its protections beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hedgerow.cli.overriding import command, overridden
from hedgerow.events import Listener
from hedgerow.job import Aggregate, Job, Local, Privacy, Secure
from hedgerow.run import Run
from hedgerow.runs import RunFolder
from hedgerow.scenario import Scenario
from hedgerow.settings import Scalar
from hedgerow.task import PooledTask

__all__ = ["DEMO", "demo_task", "run_demo", "say_nothing", "say_twin", "with_twins"]

DEMO = "demo"  # stands for a project's folder in job.json

JOB = Job(
    rounds=20,
    local=Local(epochs=4, batch=128, lr=1.0),
    privacy=Privacy(unit="record", epsilon=3.0, delta=1e-4),
    aggregate=Aggregate(rule="trimmed-mean", before="nnm", byzantine=2),
    secure=Secure(mode="off"),
)
SCENARIO = Scenario(sites=10, split="dirichlet:0.5", attack="sign-flip", attackers=2, strength=4.0, seed=0)

TWINS: Mapping[str, Mapping[str, Scalar]] = {
    "undefended": {"aggregate.rule": "mean", "aggregate.before": "none", "aggregate.byzantine": 0},
    "without-dp": {"privacy.unit": "none"},
}


def demo_task() -> PooledTask:
    """Handwritten digits with softmax regression: 650 parameters keep the noise of ε = 3 bearable."""
    from hedgerow.tasks import digits

    return digits(hidden=0)


def run_demo(
    *,
    runs: Path,
    config: str,
    scenario: str,
    listeners: Sequence[Listener],
    say: Callable[[str, Mapping[str, float]], None],
) -> Run:
    """The defended run, its twins in its folder, and the report that compares them.

    `say` hears each twin's name and final metrics.
    """
    from hedgerow.simulations import simulate

    run = simulate(
        overridden(JOB, "-c", config),
        demo_task(),
        scenario=overridden(SCENARIO, "-s", scenario),
        runs=runs,
        listeners=listeners,
        project=DEMO,
        command=command("demo", "", config, scenario),
    )
    return with_twins(run, say=say)


def with_twins(run: Run, *, say: Callable[[str, Mapping[str, float]], None]) -> Run:
    """Run, or finish, the twins of a demo run and draw its report again."""
    from hedgerow.report import write_report
    from hedgerow.simulations import resume, simulate

    for name, changes in TWINS.items():
        path = run.path / "twins" / name
        if (path / "job.json").exists():
            twin = resume(RunFolder.open(path), demo_task())
        else:
            twin = simulate(
                run.folder.job.override({**changes, "leakage.gate": ""}),
                demo_task(),
                scenario=run.folder.scenario,
                runs=path.parent,
                name=name,
                project=DEMO,
            )
        say(name, twin.final)
    write_report(run.path)
    return run


def say_twin(name: str, final: Mapping[str, float]) -> None:
    """What became of the demo's job without one of its protections."""
    words = {"undefended": "without the robust rule", "without-dp": "without differential privacy"}
    metrics = ", ".join(f"{key} {value:.3f}" for key, value in list(final.items())[:1] if value is not None)
    with contextlib.suppress(BrokenPipeError):  # a reader that left ends the printing, not the run
        print(f"the same job {words[name]}: {metrics or 'not finite'}", flush=True)


def say_nothing(name: str, final: Mapping[str, float]) -> None:
    """The envelope alone goes to stdout."""
