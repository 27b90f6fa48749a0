"""A project's private steps in a process of their own, which knows nothing of this one: `python -m` this file."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from hedgerow.errors import Exhausted
from hedgerow.job import Job
from hedgerow.project import Project
from hedgerow.scenario import Scenario
from hedgerow.simulations.conformance.record import Restart
from hedgerow.simulations.conformance.siterounds import Steps, deployed, site_steps
from hedgerow.simulations.sites import prepare
from hedgerow.task import Site

__all__ = ["restarted"]

PATIENCE = 300.0  # seconds


def restarted(folder: Path, job: Job, scenario: Scenario) -> Restart:
    """A site's first round in a fresh process.

    The function raises Exhausted E505 if the process does not finish in time, or ends without its steps.
    """

    def run(site: Site) -> Steps:
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "steps.npz"
            asked = {
                "folder": str(folder),
                "job": dict(job.flat()),
                "scenario": dict(scenario.flat()),
                "site": site.index,
                "out": str(out),
            }
            words = [sys.executable, "-m", __name__, json.dumps(asked)]
            try:
                done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                raise Exhausted("E505", "a fresh process did not finish its steps", place=site.name) from None
            if done.returncode or not out.exists():
                said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
                raise Exhausted("E505", f"a fresh process ended without steps and said: {said}", place=site.name)
            with np.load(out) as found:
                sums, sizes, beside = found["sums"], found["sizes"], float(found["beside"])
                batches = np.split(found["batches"], np.cumsum(sizes)[:-1])
        return Steps(sums=sums, batches=tuple(batches), beside=beside)

    return run


def _main(words: str) -> None:
    asked = json.loads(words)
    task = Project.open(asked["folder"]).task()
    assert task is not None
    task, _, sites = prepare(task, Scenario.from_flat(asked["scenario"]))
    site = next(site for site in sites if site.index == asked["site"])
    job = Job.from_flat(asked["job"])
    made = site_steps(job, task, task.data(site).train, randomness=deployed(site), rounds=[1])
    np.savez(asked["out"], sums=made.sums, sizes=made.sizes, batches=np.concatenate(made.batches), beside=made.beside)


if __name__ == "__main__":
    _main(sys.argv[1])
