"""Which defence to take by default: every attack of a battery on candidates, on digits with uneven data.

    python bench/defences.py                              # Dirichlet 0.5 and 0.1, two seeds: most of an hour
    python bench/defences.py --alpha 0.5 --seeds 1        # the half of a half
    python bench/defences.py --batch 32 --lr 0.3          # several steps at a site in every round
    python bench/defences.py --groups                     # 50 sites in groups of five, as secure sums show them
    python bench/defences.py --rounds 30 --defences "nnm|trimmed-mean" "reject+arc+nnm|trimmed-mean"

25 sites, of which 5 are hostile; an MLP 64-32-10, in every round one step at rate 0.5 on all records of the site, 200
rounds, everyone in every round, evaluated on 359 held-out records. The worst case is the lowest accuracy of any run:
every attack, every seed. The clean cost is what the defence loses to the plain mean where nobody attacks.
`model-replacement` boosts its update by n/2f; `badnets` does not. With `--groups` a rule sees the means of ten random
groups, drawn anew in every round, beside the same rule on single updates: 50 sites, 4 hostile, local epochs of batch 16
at rate 0.3, 100 rounds, one seed unless said, client momentum 0.9.
Everything is drawn from seeds: the same figures on every machine, to the last bits.
"""

import argparse
import hashlib
import tempfile
from collections.abc import Callable, Sequence

import numpy as np

from hedgerow import Job, Scenario
from hedgerow.aggregation import Bucketing, MultiKrum, Rule, Spectral, TrimmedMean, aggregate, make_rule, register_rule
from hedgerow.simulations import attack
from hedgerow.simulations.redteam import RedTeam
from hedgerow.tasks import digits

SITES, HOSTILE, HIDDEN = 25, 5, 32
WHOLE = 2000  # more records than a site has: one step a round
BACKDOORS = ("model-replacement", "badnets")
ATTACKS = (
    *("sign-flip", "label-flip", "gaussian", "ipm", "ipm-searched", "alie:1.5", "alie-searched"),
    *("mimic", "min-max", "min-sum", *BACKDOORS),
)
USUAL = "reject+arc+nnm|trimmed-mean"
DEFENCES = (
    USUAL,
    f"{USUAL}|update_momentum=0.9",
    "arc+nnm|trimmed-mean",
    "nnm|trimmed-mean",
    *("trimmed-mean", "trimmed-mean|update_momentum=0.9", "median", "krum", "geometric-median"),
)


GROUPED: dict[str, Callable[[int], Rule]] = {
    "multi-krum": lambda f: MultiKrum(f=f, strict=False),
    "spectral": lambda f: Spectral(f=f),
    "trimmed-mean": lambda f: TrimmedMean(f=f),
    "arc-nnm-trimmed-mean": lambda f: make_rule("trimmed-mean", byzantine=f, before="arc+nnm"),
}
GROUP_ATTACKS = ("sign-flip", "label-flip", "ipm-searched", "alie-searched", "min-max", "model-replacement")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alpha", nargs="+", default=["0.5", "0.1"])
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--batch", type=int, default=WHOLE)
    parser.add_argument("--lr", type=float, default=0.5)
    parser.add_argument("--defences", nargs="+", default=DEFENCES)
    parser.add_argument("--groups", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.groups:
            names = [f"{register(name, size)}|update_momentum=0.9" for name in GROUPED for size in (1, 5)]
            job, seeds = base(options.rounds or 100, batch=16, lr=0.3, quorum=41), options.seeds or 1
            show(names, run(job, "0.5", GROUP_ATTACKS, names, seeds, folder, sites=50, hostile=4), GROUP_ATTACKS)
            return
        quorum, seeds = 2 * HOSTILE + 3, options.seeds or 2
        job = base(options.rounds or 200, batch=options.batch, lr=options.lr, quorum=quorum)
        for alpha in options.alpha:
            found = run(job, alpha, ATTACKS, options.defences, seeds, folder, sites=SITES, hostile=HOSTILE)
            show(options.defences, found, ATTACKS)


def base(rounds: int, *, batch: int, lr: float, quorum: int) -> Job:
    """The job without a defence."""
    return Job.from_flat(
        {
            "rounds": rounds,
            "local.batch": batch,
            "local.lr": lr,
            "cohort.quorum": quorum,
            "aggregate.rule": "mean",
            "aggregate.before": "none",
            "aggregate.byzantine": 0,
            "privacy.unit": "none",
            "secure.mode": "off",
        }
    )


def register(name: str, size: int) -> str:
    """A rule on the means of random groups, whose draw follows from the updates, so that each round has its own."""
    own = f"{name}-of-{size}"

    @register_rule(own, needs=lambda f: size * 2 * f + 1)
    def grouped(rows: np.ndarray, f: int) -> np.ndarray:
        seed = int.from_bytes(hashlib.blake2b(rows[:, :8].tobytes(), digest_size=8).digest(), "little")
        rule = GROUPED[name](f)
        whole = Bucketing(size=size) | rule if size > 1 else rule
        return aggregate(rows, whole, rng=np.random.default_rng(seed)).vector

    return own


def run(
    job: Job,
    alpha: str,
    attacks: Sequence[str],
    defences: Sequence[str],
    seeds: int,
    folder: str,
    *,
    sites: int,
    hostile: int,
) -> RedTeam:
    """Every attack on every defence."""
    print(f"\nDirichlet({alpha}), {sites} sites, {hostile} hostile, {job.rounds} rounds, {seeds} seed(s)", flush=True)
    return attack(
        job,
        digits(hidden=HIDDEN),
        attacks=attacks,
        defences=defences,
        f=[hostile],
        seeds=seeds,
        scenario=Scenario(sites=sites, split=f"dirichlet:{alpha}"),
        runs=folder,
    )


def show(defences: Sequence[str], found: RedTeam, attacks: Sequence[str]) -> None:
    """A line for each defence: its worst case, what it costs, and every attack by itself."""
    cells = {(row["defence"], row["attack"]): row for row in found.table}
    worst = {row["defence"]: row for row in found.worst}
    print(f"{'':52}{'worst':>7} {'by':18}{'clean':>7}{'cost':>7}" + "".join(f"{name[:8]:>9}" for name in attacks))
    for defence in defences:
        row = worst[defence]
        line = f"{defence:52}{row['worst']:7.3f} {row['by']:18}{row['clean']:7.3f}{row['cost']:7.3f}"
        for name in attacks:
            cell = cells[defence, name]
            line += f"{cell['backdoor' if name in BACKDOORS else 'mean']:9.2f}"
        print(line)
    print("for backdoors the share of triggered records that they win; means over seeds", flush=True)


if __name__ == "__main__":
    main()
