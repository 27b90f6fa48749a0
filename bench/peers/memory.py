"""Resident memory after each of many rounds of a thousand sites: what a run keeps must not grow with its length."""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Mapping

from bench.peers.hedgerow_job import job_of
from bench.peers.workload import Workload, peak_megabytes, scenario_of, task_of

from hedgerow.simulations import simulate


def resident_megabytes() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload")
    parser.add_argument("--engine", required=True)
    parsed = parser.parse_args()
    work = Workload.load(parsed.workload)
    resident: list[float] = []

    def watch(event: Mapping[str, object]) -> None:
        if event["event"] == "round-closed":
            resident.append(resident_megabytes())

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as runs:
        simulate(
            job_of(work, private=False),
            task_of(work.kind, len(work.y)),
            scenario=scenario_of(work.sites, work.split),
            engine=parsed.engine,
            runs=runs,
            listeners=[watch],
        )
    print(json.dumps({"seconds": time.perf_counter() - start, "resident_mb": resident, "peak_mb": peak_megabytes()}))


if __name__ == "__main__":
    main()
