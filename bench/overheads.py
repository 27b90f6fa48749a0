"""What a job of thousands of sites costs beside its training: privacy plans, the ledger, the robust rule, the report.

    python bench/overheads.py [--sites 1000] [--report 10000] [--repeat 3]     # less than a minute on two cores

Plans and charges are those of sites of distinct sizes, for which nothing is computed once and used again. A round's
charges are reserved and released in one transaction each, as the cohort engine does it. The rules are the default one
(norm clipping and nearest neighbour mixing before the trimmed mean) and parts of it, on as many numbers as an MLP
64-128-10 has, a fifth of the sites taken for hostile. The report is that of a private run which is simulated for it.
Where a thing is done more than once, the best time counts.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from hedgerow import aggregation
from hedgerow.job import Job
from hedgerow.privacy import Charge, Ledger, RecordPlan, Reservation, site_plan
from hedgerow.privacy.accounting import rdp_curve
from hedgerow.report import write_report
from hedgerow.simulations import simulate

ROUNDS, EPSILON, DELTA = 5, 8.0, 1e-5


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def private_job() -> Job:
    return Job.from_flat(
        {
            "rounds": ROUNDS,
            "privacy.unit": "record",
            "privacy.epsilon": EPSILON,
            "privacy.delta": DELTA,
            "secure.mode": "off",
            "aggregate.rule": "mean",
            "aggregate.before": "none",
            "aggregate.byzantine": 0,
        }
    )


def charges(plans: Sequence[RecordPlan], round_number: int) -> list[Charge]:
    return [
        Charge(
            dataset=f"site-{number:05d}",
            noise_multiplier=plan.noise_multiplier,
            sampling_rate=plan.sampling_rate,
            clip=plan.clip,
            steps=plan.steps_per_round,
            delta=plan.delta,
            job="bench",
            run="bench",
            round=round_number,
            model="",
            randomness="none: nothing is drawn",
        )
        for number, plan in enumerate(plans)
    ]


def ledger_round(ledger: Ledger, plans: Sequence[RecordPlan], round_number: int) -> tuple[float, float]:
    """Seconds to reserve a round's charges, and to release them."""
    asked, limits = charges(plans, round_number), [EPSILON] * len(plans)
    start = time.perf_counter()
    answers = ledger.reserve_each(asked, limits=limits)
    reserved = time.perf_counter()
    ledger.release_each([answer for answer in answers if isinstance(answer, Reservation)])
    released = time.perf_counter()
    assert ledger.head().seq == 1 + 2 * round_number * len(plans), "a charge was refused"
    return reserved - start, released - reserved


def plans_and_ledger(sites: int) -> None:
    job, plans = private_job(), list[RecordPlan]()
    taken = seconds(lambda: plans.extend(site_plan(job, 100 + number) for number in range(sites)))
    print(f"privacy plans of {sites:,} sites of {sites:,} sizes: {taken:.2f} s, {1e3 * taken / sites:.2f} ms a site")
    for durable, words in ((False, "of a simulation"), (True, "durable")):
        with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "l", durable=durable) as ledger:
            first, *later = (ledger_round(ledger, plans, number) for number in range(1, ROUNDS + 1))
        reserve, release = (1e6 * min(taken) / sites for taken in zip(*later, strict=True))
        print(
            f"ledger, {words}: {1e6 * first[0] / sites:.0f} microseconds a site to reserve in the first round, ", end=""
        )
        print(f"{reserve:.0f} in later ones, {release:.0f} to release")
        # A little more noise for the next ledger: no price found for this one is one of its own. What a step costs is
        # known of all, as it is after planning.
        plans = [replace(plan, noise_multiplier=1.001 * plan.noise_multiplier) for plan in plans]
        for plan in plans:
            rdp_curve(plan.noise_multiplier, plan.sampling_rate)


def rule(sites: int, repeat: int) -> None:
    rows = np.random.default_rng(0).standard_normal((sites, 9_610), dtype=np.float32)
    f = sites // 5
    before = aggregation.ClipNorms() | aggregation.NNM(f=f)
    for name, steps in (
        ("trimmed mean", aggregation.TrimmedMean(f=f)),
        ("clip, NNM, trimmed mean", before | aggregation.TrimmedMean(f=f)),
        ("clip, NNM, mean", before | aggregation.Mean()),
    ):
        taken = min(seconds(partial(aggregation.aggregate, rows, steps)) for _ in range(repeat))
        print(f"{name:24} {sites:,} x {rows.shape[1]:,}, f = {f}: {1e3 * taken:.0f} ms")


def report(sites: int, repeat: int) -> None:
    from bench.peers.workload import scenario_of, task_of

    with tempfile.TemporaryDirectory() as runs:
        task, scenario = task_of("resampled", 10 * sites), scenario_of(sites, "iid")
        job = private_job().override({"rounds": 2, "local.batch": 5, "privacy.delta": 1e-3})
        run = simulate(job, task, scenario=scenario, engine="cohort", runs=runs)
        taken = min(seconds(lambda: write_report(run.path)) for _ in range(repeat))
        page, log = (path.stat().st_size / 1e6 for path in (run.report, run.folder.events))
        print(f"report of {sites:,} sites x 2 rounds: {taken:.2f} s, page {page:.2f} MB, of a log of {log:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=1000)
    parser.add_argument("--report", type=int, default=10_000, metavar="SITES")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # found from wherever this was started
    plans_and_ledger(options.sites)
    rule(options.sites, options.repeat)
    report(options.report, options.repeat)


if __name__ == "__main__":
    main()
