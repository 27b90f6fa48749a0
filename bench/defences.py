"""Which defence to take by default: every attack of a battery on candidates, on digits with uneven data.

    python bench/defences.py                              # Dirichlet 0.5 and 0.1, two seeds: about a quarter of an hour
    python bench/defences.py --alpha 0.5 --seeds 1        # the half of a half
    python bench/defences.py --rounds 30 --defences "nnm|trimmed-mean" "reject+arc+nnm|trimmed-mean"

25 sites, of which 5 are hostile; an MLP 64-32-10, one local epoch of SGD (batch 32, rate 0.3), 100 rounds, everyone in
every round, evaluated on 359 held-out records. The worst case is the lowest accuracy of any run: every attack, every
seed. The clean cost is what the defence loses to the plain mean where nobody attacks. `model-replacement` boosts its
update by n/2f; `badnets` does not. Everything is drawn from seeds: the same figures on every machine, to the last bits.
"""

import argparse
import tempfile

from hedgerow import Job, Scenario
from hedgerow.simulations import attack
from hedgerow.tasks import digits

SITES, HOSTILE, HIDDEN = 25, 5, 32
BACKDOORS = ("model-replacement", "badnets")
ATTACKS = (
    *("sign-flip", "label-flip", "gaussian", "ipm", "ipm-searched", "alie", "alie-searched"),
    *("mimic", "min-max", "min-sum", *BACKDOORS),
)
USUAL = "reject+arc+nnm|trimmed-mean|update_momentum=0.9"
DEFENCES = (
    USUAL,
    "reject+arc+nnm|trimmed-mean",
    "arc+nnm|trimmed-mean",
    "clip+nnm|trimmed-mean",
    "nnm|trimmed-mean",
    "nnm|trimmed-mean|update_momentum=0.9",
    *("trimmed-mean", "median", "krum", "geometric-median"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alpha", nargs="+", default=["0.5", "0.1"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--defences", nargs="+", default=DEFENCES)
    options = parser.parse_args()
    job = Job.from_flat(
        {
            "rounds": options.rounds,
            "local.batch": 32,
            "local.lr": 0.3,
            "cohort.quorum": 2 * HOSTILE + 3,
            "aggregate.rule": "mean",
            "aggregate.before": "none",
            "aggregate.byzantine": 0,
            "privacy.unit": "none",
            "secure.mode": "off",
        }
    )
    for alpha in options.alpha:
        scenario = Scenario(sites=SITES, split=f"dirichlet:{alpha}")
        with tempfile.TemporaryDirectory() as runs:
            found = attack(
                job,
                digits(hidden=HIDDEN),
                attacks=ATTACKS,
                defences=options.defences,
                f=[HOSTILE],
                seeds=options.seeds,
                scenario=scenario,
                runs=runs,
            )
            cells = {(row["defence"], row["attack"]): row for row in found.table}
            worst = {row["defence"]: row for row in found.worst}
        print(f"\nDirichlet({alpha}), {SITES} sites, {HOSTILE} hostile, {options.rounds} rounds, {options.seeds} seeds")
        print(f"{'':52}{'worst':>7} {'by':15}{'clean':>7}{'cost':>7}" + "".join(f"{name[:8]:>9}" for name in ATTACKS))
        for defence in options.defences:
            row = worst[defence]
            line = f"{defence:52}{row['worst']:7.3f} {row['by']:15}{row['clean']:7.3f}{row['cost']:7.3f}"
            for name in ATTACKS:
                cell = cells[defence, name]
                line += f"{cell['backdoor' if name in BACKDOORS else 'mean']:9.2f}"
            print(line, flush=True)
        print("the last two columns are the share of triggered records that the backdoor wins, means over seeds")


if __name__ == "__main__":
    main()
