"""The simulator beside its peers on the same job: Flower on Ray, pfl-research, a torch loop, and Opacus for privacy.

    python bench/simulation.py                      # every part, about fifteen minutes on two cores
    python bench/simulation.py --part peers         # 10 sites x 20 rounds and 100 sites x 50 rounds
    python bench/simulation.py --part thousands     # 1,000 sites x 10 rounds, twice: a step a site, and 15 records
    python bench/simulation.py --part dp            # DP-SGD: Opacus site after site
    python bench/simulation.py --part memory        # 1,000 sites x 200 rounds
    python bench/simulation.py --part first         # `hedgerow sim` from process start to its first round
    python bench/simulation.py --part overhead      # a message there and back

The job, the same for all: digits at sites by Dirichlet(0.5), an MLP 64-128-10, one local epoch of SGD (batch 5, rate
0.1, momentum 0.9), everyone in every round, the mean weighted by records, evaluation at the server after every round.
Each system runs in a process of its own: a round to warm up, then three runs, of which the median counts (Ray: its own
start belongs to a run; once where it takes long). `OMP_NUM_THREADS` is 1 for the plain loops and pfl, which are faster
so, and left to the system elsewhere. Hedgerow's time is that of `simulate`, with events, checkpoints, leakage and
report. pfl is run by `--pfl PYTHON`, or in an environment that is made for it with pip.

Floating-point operations: 6 a weight and record (forward, and both gradients), less the first layer's input gradient,
2 a weight. "of peak" divides them by the time and by what the machine's own 1024 x 1024 float32 products reach here.
Memory is the largest resident memory of the process; of systems with several, their sum, shared pages counted once.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

PARTS = ("peers", "thousands", "dp", "memory", "first", "overhead")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--pfl", metavar="PYTHON", help="an interpreter that has pfl and torch")
    parser.add_argument(
        "--engine", nargs="+", default=["cohort", "in-process"], help="Hedgerow's; the first one for memory"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # found from wherever this was started
    from bench.peers import parts
    from bench.peers.processes import measure, pfl_interpreter

    wanted = PARTS if options.part == "all" else (options.part,)
    machine = measure(["bench.peers.machine"])
    if "skipped" in machine:
        raise SystemExit(machine["skipped"])
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    print(f"{machine['cores']} cores, {machine['machine']}, Python {machine['python']}, {versions}")
    print(f"float32 products: {machine['one_thread'] / 1e9:.1f} GFLOP/s on one thread, ", end="")
    print(f"{machine['all_threads'] / 1e9:.1f} on {machine['cores']}; load {machine['load']:.1f} before the start")
    found: dict[str, object] = {"machine": machine}
    with tempfile.TemporaryDirectory() as scratch:
        python = None
        if {"peers", "thousands"} & set(wanted):
            python, why = pfl_interpreter(options.pfl, Path(scratch) / "pfl")
            if python is None:
                print(f"pfl is SKIPPED: {why}")
        bench = parts.Bench(
            scratch=Path(scratch), pfl=python, machine=machine, engines=options.engine, repeats=options.repeats
        )
        try:
            for part in wanted:
                if part in ("peers", "thousands"):
                    for name in ("10x20", "100x50") if part == "peers" else ("1000x10", "1000x10x15"):
                        found[name] = parts.peers(bench, name)
                elif part == "dp":
                    found |= {f"dp-{model}": parts.private(bench, model) for model in ("mlp", "cnn")}
                else:
                    found[part] = {"memory": parts.memory, "first": parts.first, "overhead": parts.overhead}[part](
                        bench
                    )
        finally:
            after = measure(["bench.peers.machine"])
            found["machine afterwards"] = after
            if "skipped" not in after:
                print(f"\nfloat32 products afterwards: {after['one_thread'] / 1e9:.1f} GFLOP/s on one thread, ", end="")
                print(f"{after['all_threads'] / 1e9:.1f} on {after['cores']}; load {os.getloadavg()[0]:.1f}")
            if options.json is not None:
                options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
