"""The parts of `bench/simulation.py`: what each one runs, the table it prints and the figures it returns."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers.processes import Figures, measure
from bench.peers.workload import BATCH, DP_BATCH, LAYERS

OPERATIONS = 6 * (LAYERS[0] * LAYERS[1] + LAYERS[1] * LAYERS[2]) - 2 * LAYERS[0] * LAYERS[1]
AGREE = 0.04  # of 359 held-out records: two seeds of one system differ by half of this

__all__ = ["JOBS", "Bench", "first", "memory", "overhead", "peers", "private"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """A job's size, its records, and what Hedgerow is to reach there: times as fast as Flower on Ray and as pfl."""

    title: str
    sites: int
    rounds: int
    kind: str = "digits"
    records: int = 0
    split: str = "dirichlet:0.5"
    batch: int = BATCH
    ray: float | None = None
    pfl: float | None = None


JOBS = {
    "10x20": Federation(title="10 sites x 20 rounds", sites=10, rounds=20, ray=100, pfl=10),
    "100x50": Federation(title="100 sites x 50 rounds", sites=100, rounds=50, ray=100, pfl=15),
    "1000x10": Federation(title="1,000 sites x 10 rounds, a step each", sites=1000, rounds=10, pfl=20),
    "1000x10x15": Federation(
        title="1,000 sites x 10 rounds, about 15 records each",
        sites=1000,
        rounds=10,
        kind="resampled",
        records=15_000,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all parts share: a scratch folder, the interpreter with pfl, the machine's pace and the engines to try."""

    scratch: Path
    pfl: str | None
    machine: Figures
    engines: Sequence[str]
    repeats: int = 3

    def workload(self, federation: Federation) -> tuple[str, Figures]:
        """The job's file of arrays, and its numbers of records and steps."""
        path = self.scratch / f"{federation.kind}-{federation.sites}-{federation.rounds}.npz"
        words = [f"--{name}={getattr(federation, name)}" for name in ("kind", "records", "sites", "rounds", "split")]
        made = measure(["bench.peers.workload", str(path), *words, f"--batch={federation.batch}"])
        if "skipped" in made:
            raise SystemExit(f"the job cannot be made: {made['skipped']}")
        return str(path), made


def peers(bench: Bench, name: str) -> Figures:
    """One job on every system: seconds, accuracy, memory, and the share of the machine's matrix-multiply rate."""
    job = JOBS[name]
    path, made = bench.workload(job)
    often = [path, f"--repeats={bench.repeats}", "--warm"]
    ray = [path, f"--repeats={bench.repeats if name == '10x20' else 1}", "--engine=ray"]
    rows: dict[str, Figures] = {}
    if name == "1000x10x15":  # its time goes into messages, of which there are as many as in 1000x10
        rows["Flower 1.41 on Ray"] = {"skipped": "takes minutes; 1,000 sites x 10 rounds above has as many messages"}
    else:
        rows["Flower 1.41 on Ray"] = measure(["bench.peers.flower_digits", *ray], tree=True)
    if bench.pfl is not None:
        two = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "bench.peers.pfl_digits", *often]
        rows["pfl 0.6.0, one process"] = measure(["bench.peers.pfl_digits", *often], python=bench.pfl, threads=1)
        rows["pfl 0.6.0, two processes"] = measure(two, python=bench.pfl, tree=True)
    rows["sequential torch"] = measure(["bench.peers.sequential", *often], threads=1)
    rows["Flower's FedAvg, our Grid"] = measure(["bench.peers.flower_digits", *often, "--engine=grid"], threads=1)
    rows["the same, our CohortGrid"] = measure(["bench.peers.flower_digits", *often, "--engine=cohort"], threads=1)
    for engine in bench.engines:
        rows[f"Hedgerow, {engine}"] = measure(["bench.peers.hedgerow_job", *often, f"--engine={engine}"])
    operations = OPERATIONS * made["records"] * job.rounds
    _derive(rows, operations=operations, machine=bench.machine)
    print(f"\n{job.title}: {made['records']:,} records, {made['steps']:,} steps, {operations / 1e9:.2f} GFLOP")
    _table(rows, against=("Ray", "pfl"))
    _targets(rows, job)
    _agreement(rows)
    return {"operations": operations, **made, "systems": rows}


def private(bench: Bench, model: str) -> Figures:
    """100 sites x 6 Poisson steps x 10 rounds of DP-SGD: Opacus one site after another, and Hedgerow's engines."""
    kind, target = {"mlp": ("resampled", 10.0), "cnn": ("images", 2.0)}[model]
    job = Federation(title=model, sites=100, rounds=10, kind=kind, records=9000, split="iid", batch=DP_BATCH)
    path, made = bench.workload(job)
    once, often = [path, "--repeats=1", "--warm"], [path, f"--repeats={bench.repeats}", "--warm"]
    rows = {"Opacus, site after site": measure(["bench.peers.opacus_loop", *once], threads=1)}
    for engine in bench.engines:
        words = once if engine == "in-process" else often
        rows[f"Hedgerow, {engine}"] = measure(["bench.peers.hedgerow_job", *words, f"--engine={engine}", "--private"])
    _derive(rows, operations=None, machine=bench.machine)
    title = "MLP 64-128-10" if model == "mlp" else "small CNN, 8 x 8 images"
    print(f"\nDP-SGD, {title}: 100 sites x 6 Poisson steps x 10 rounds, {DP_BATCH} of 90 records expected a step")
    _table(rows, against=("Opacus",))
    _say_target(rows, "Opacus", target)
    _agreement(rows)
    return {**made, "systems": rows}


def memory(bench: Bench) -> Figures:
    """Resident memory over 200 rounds of 1,000 sites: under 600 MB, and growth under 2 % after a tenth of them."""
    path, _ = bench.workload(Federation(title="memory", sites=1000, rounds=200))
    found = measure(["bench.peers.memory", path, f"--engine={bench.engines[0]}"])
    print(f"\nMemory over 1,000 sites x 200 rounds, engine {bench.engines[0]}")
    if "skipped" in found:
        print(f"  skipped: {found['skipped']}")
        return found
    resident: list[float] = found["resident_mb"]
    settled, most = resident[len(resident) // 10], max(resident)
    found["growth"] = most / settled - 1
    print(f"  after round 20 {settled:.0f} MB, largest after a round {most:.0f} MB, at the last {resident[-1]:.0f} MB")
    print(f"  growth {found['growth']:.1%} (target under 2 %): {_met(found['growth'] < 0.02)}")
    print(f"  peak of the process, report included: {found['peak_mb']:.0f} MB; all in {found['seconds']:.1f} s")
    print(f"  under 600 MB: {_met(found['peak_mb'] < 600)}")
    return found


def first(bench: Bench) -> Figures:
    """`hedgerow sim` on a new project, from process start to the first evaluated round: under 4 seconds."""
    found = measure(["bench.peers.first"])
    print("\n`hedgerow sim` on a new project, from the start of the process (median of three; files are in the cache)")
    for name, tried in found.items() if "skipped" not in found else ():
        if name in ("private", "plain"):
            reached, ended = (statistics.median(each[position] for each in tried) for position in (0, 1))
            print(f"  {name:8} first round {reached:5.2f} s, end {ended:5.2f} s   under 4 s: {_met(reached < 4)}")
    if "skipped" in found:
        print(f"  skipped: {found['skipped']}")
    return found


def overhead(bench: Bench) -> Figures:
    """What a message costs on the Grid in this process."""
    found = measure(["bench.peers.overhead"], threads=1)
    print("\nA message there and back on our Grid, 10,000 parameters, no training")
    if "skipped" in found:
        print(f"  skipped: {found['skipped']}")
    else:
        print(f"  {found['best_ms']:.3f} ms (best round of {found['sites']}), {found['median_ms']:.3f} ms (median)")
    return found


def _derive(rows: Mapping[str, Figures], *, operations: int | None, machine: Figures) -> None:
    for row in rows.values():
        if "skipped" not in row and operations is not None:
            row["share_of_one_thread"] = operations / row["seconds"] / machine["one_thread"]
            row["share_of_all_threads"] = operations / row["seconds"] / machine["all_threads"]


def _table(rows: Mapping[str, Figures], *, against: Sequence[str]) -> None:
    heads = [f"x {word}" for word in against]
    print(f"  {'':27}{'seconds':>9}{'from - to':>19}" + "".join(f"{head:>10}" for head in heads), end="")
    peak = any("share_of_one_thread" in row for row in rows.values())
    print(f"{'accuracy':>10}{'memory':>9}" + (f"{'of peak, 1 / all threads':>26}" if peak else ""))
    for name, row in rows.items():
        if "skipped" in row:
            print(f"  {name:27} skipped: {row['skipped'][:120]}")
            continue
        spread = f"{min(row['tried']):.3f} - {max(row['tried']):.3f}" if len(row["tried"]) > 1 else "once"
        times = "".join(f"{_ratio(rows, word, row):>10}" for word in against)
        print(f"  {name:27}{row['seconds']:9.3f}{spread:>19}{times}{row['accuracy']:10.4f}", end="")
        print(f"{row['peak_mb']:6.0f} MB", end="")
        if "share_of_one_thread" in row:
            print(f"{row['share_of_one_thread']:16.2%} / {row['share_of_all_threads']:.2%}", end="")
        print()
        if "after" in row:
            path = f"; path {row['path']}" if "path" in row else ""
            print(f"  {'':27}of it before the rounds {row['before']:.3f}, rounds {row['rounds']:.3f}", end="")
            print(f", leakage and report {row['after']:.3f}{path}")


def _fastest(rows: Mapping[str, Figures], word: str) -> float | None:
    return min((row["seconds"] for name, row in rows.items() if word in name and "skipped" not in row), default=None)


def _ratio(rows: Mapping[str, Figures], word: str, row: Figures) -> str:
    peer = _fastest(rows, word)
    return "-" if peer is None else f"{peer / row['seconds']:.1f}"


def _targets(rows: Mapping[str, Figures], job: Federation) -> None:
    for word, target in (("Ray", job.ray), ("pfl", job.pfl)):
        if target is not None:
            _say_target(rows, word, target)
    grid, ray = _fastest(rows, "our CohortGrid"), _fastest(rows, "Ray")
    if grid is not None and ray is not None and job.ray is not None:
        print(f"  Flower's FedAvg on our CohortGrid {ray / grid:.1f} x Ray (target 12): {_met(ray / grid >= 12)}")


def _say_target(rows: Mapping[str, Figures], word: str, target: float) -> None:
    ours, peer = _fastest(rows, "Hedgerow"), _fastest(rows, word)
    if ours is not None and peer is not None:
        print(f"  Hedgerow {peer / ours:.1f} x {word} (target {target:g}): {_met(peer / ours >= target)}")


def _agreement(rows: Mapping[str, Figures]) -> None:
    """Systems that do the same job reach the same accuracy, but for the order of mini-batches and the noise.

    Raises:
        SystemExit: otherwise; then no ratio means anything.
    """
    reached = {name: row["accuracy"] for name, row in rows.items() if "skipped" not in row}
    if reached and max(reached.values()) - min(reached.values()) > AGREE:
        raise SystemExit(f"the systems disagree on the result, so their times do not compare: {reached}")


def _met(reached: bool) -> str:
    return "met" if reached else "MISSED"
