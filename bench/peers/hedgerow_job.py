"""The job on Hedgerow: `simulate`, whole, with its events, rules, evaluation, checkpoints, leakage and report."""

import functools
import json
import tempfile
import time
from collections.abc import Mapping

from bench.peers.workload import (
    CLIP,
    DELTA,
    EPSILON,
    LR,
    MOMENTUM,
    Workload,
    peer_arguments,
    scenario_of,
    task_of,
    timed,
)

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.settings import Scalar
from hedgerow.simulations import simulate


def job_of(work: Workload, *, private: bool) -> Job:
    """The plain mean, weighted by records, as the peers have it; with `private`, noise for every record."""
    settings: dict[str, Scalar] = {
        "rounds": work.rounds,
        "local.batch": work.batch,
        "local.lr": LR,
        "local.momentum": MOMENTUM,
        "privacy.unit": "record" if private else "none",
        "secure.mode": "off",
        "aggregate.rule": "mean",
        "aggregate.before": "none",
        "aggregate.byzantine": 0,
    }
    if private:
        settings |= {"privacy.epsilon": EPSILON, "privacy.delta": DELTA, "privacy.clip": CLIP, "local.momentum": 0.0}
    else:
        settings["aggregate.weights"] = "examples"
    return Job.from_flat(settings)


def run(work: Workload, *, engine: str, private: bool) -> tuple[float, Mapping[str, float]]:
    """The accuracy, and where the seconds went: before the first round, in the rounds, after the last."""
    job, scenario = job_of(work, private=private), scenario_of(work.sites, work.split)
    with tempfile.TemporaryDirectory() as runs:
        start = time.time()
        done = simulate(job, task_of(work.kind, len(work.y)), scenario=scenario, engine=engine, runs=runs)
        end = time.time()
        first = done.events("round-started")[0]["time"]
        last = max(event["time"] for kind in ("round-closed", "evaluated") for event in done.events(kind))
        path = [f"{event['path']} {event['private']}".strip() for event in done.events("engine-chosen")]
        return done.final["accuracy"], {
            "before": first - start,
            "rounds": last - first,
            "after": end - last,
            **({"path": path[-1]} if path else {}),
        }


if __name__ == "__main__":
    parser = peer_arguments(__doc__)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--private", action="store_true")
    parsed = parser.parse_args()
    try:
        timed(functools.partial(run, engine=parsed.engine, private=parsed.private), parsed)
    except Misconfigured as error:
        print(json.dumps({"skipped": str(error)}))
