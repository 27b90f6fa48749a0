"""What privacy costs in accuracy: a federation under record-level privacy beside one site that holds all records.

    python bench/privacy.py                      # two data sets, ε of 1, 3 and 8, five seeds: a minute
    python bench/privacy.py --data digits --epsilon 3
    python bench/privacy.py --sites 1000 --unit site

Ten sites with evenly shared records, twenty rounds of three local epochs, clip 1, δ = 1e-4, the plain mean; "central"
is the same job at a single site, so DP-SGD on all records with the same number of epochs, batch and accountant. ε is
per record (add or remove one, PLD accountant) for the whole job; with `--unit site` it is per site, a tenth of which is
in a round, and there is nothing central to compare with. Accuracy on the held-out records: mean and standard deviation
over seeds, which also choose the split. Rate and batch were chosen on digits with two of the seeds.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence

from hedgerow import Job, Scenario, simulate
from hedgerow.settings import Scalar
from hedgerow.task import PooledTask
from hedgerow.tasks import breast_cancer, digits

DATA = {"digits": lambda: digits(hidden=0), "breast cancer": lambda: breast_cancer()}
SEEDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--epsilon", nargs="+", type=float, default=[1.0, 3.0, 8.0])
    parser.add_argument("--sites", type=int, default=10)
    parser.add_argument("--unit", choices=("record", "site"), default="record")
    options = parser.parse_args()
    print(f"{'':16}{'per ' + options.unit:>14}{f'{options.sites:,} sites':>18}", end="")
    print(f"{'central':>18}" if options.unit == "record" else "")
    for name in options.data:
        for epsilon in (*options.epsilon, None):
            job = job_of(epsilon, options.unit)
            line = f"{name:16}{'no privacy' if epsilon is None else f'ε = {epsilon:g}':>14}"
            line += spread(job, DATA[name](), sites=options.sites)
            if options.unit == "record":
                line += spread(job, DATA[name](), sites=1)
            print(line, flush=True)


def job_of(epsilon: float | None, unit: str) -> Job:
    """The job at that ε, or without privacy."""
    stated: dict[str, Scalar] = {
        "rounds": 20,
        "local.epochs": 3,
        "local.batch": 72,
        "local.lr": 1.0,
        "cohort.quorum": 1,
        "aggregate.rule": "mean",
        "aggregate.before": "none",
        "aggregate.byzantine": 0,
        "secure.mode": "off",
        "privacy.unit": "none",
    }
    if epsilon is not None:
        stated |= {"privacy.unit": unit, "privacy.epsilon": epsilon, "privacy.delta": 1e-4, "privacy.accountant": "pld"}
    if unit == "site":
        stated["cohort.fraction"] = 0.1
    return Job.from_flat(stated)


def spread(job: Job, task: PooledTask, *, sites: int) -> str:
    """Mean and standard deviation of the last accuracy over seeds."""
    found: Sequence[float] = [
        simulate(
            job,
            task,
            scenario=Scenario(sites=sites, split="iid", seed=seed),
            runs=tempfile.mkdtemp(),
            name="run",
            bare=True,
        ).final["accuracy"]
        for seed in range(SEEDS)
    ]
    return f"{statistics.mean(found):12.3f} ± {statistics.stdev(found):.3f}"


if __name__ == "__main__":
    main()
