"""How honest and how fast the leakage intervals are.

Run: OMP_NUM_THREADS=1 python bench/leakage.py [--trials 400]    (about a minute and a half)

Coverage: scores are drawn from two normal distributions, so that the true area and the true rate are known; the
table says how often each nominal 95 % interval held the truth, and how often the truth lay *above* it, which is the
error that lets a leak through a gate. "Threshold as given" is Clopper-Pearson on the members found, which ignores
that the threshold itself was estimated. Gate: how often the job's default limit passes a model that leaks nothing.
Speed: the vectorised bootstrap against a loop over resamples with our own curve and with scikit-learn's, in one run.
"""

import argparse
import time
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from scipy.stats import beta  # type: ignore[import-untyped]  # scipy ships no types
from sklearn.metrics import roc_auc_score, roc_curve  # type: ignore[import-untyped]  # scikit-learn ships no types

from hedgerow.privacy.leakage import Gate, Membership, bootstrap, measure, roc
from hedgerow.privacy.leakage.roc import Floats

NORMAL = NormalDist()
CASES = (  # members, non-members, false positive rate, how far members are shifted
    (1437, 360, 0.01, 0.0),
    (144, 360, 0.01, 0.0),
    (1000, 1000, 0.01, 1.0),
    (5000, 5000, 0.001, 1.5),
    (1000, 1000, 0.001, 1.5),
)


def naive(members: Floats, nonmembers: Floats, fpr: float) -> tuple[float, float]:
    found, n1 = round(roc(members, nonmembers).tpr_at(fpr) * len(members)), len(members)
    low = beta.ppf(0.025, found, n1 - found + 1) if found else 0.0
    high = beta.ppf(0.975, found + 1, n1 - found) if found < n1 else 1.0
    return float(low), float(high)


def coverage(trials: int) -> None:
    print(f"\nCoverage of nominal 95 % intervals, {trials} trials, 1000 resamples (held / truth above / mean width)")
    head = f"{'members':>8}{'held out':>9}{'FPR':>7}{'true TPR':>9}"
    print(head + "".join(f"{name:>24}" for name in ("threshold as given", "bootstrap", "for claims", "AUC bootstrap")))
    for n1, n0, fpr, shift in CASES:
        rng = np.random.default_rng(2026)
        tpr = 1 - NORMAL.cdf(NORMAL.inv_cdf(1 - fpr) - shift)
        auc = NORMAL.cdf(shift / np.sqrt(2))
        ends = np.empty((trials, 4, 2))
        for trial in range(trials):
            members, nonmembers = rng.normal(shift, 1, n1), rng.normal(0, 1, n0)
            spread = bootstrap(members, nonmembers, (fpr,), rng=rng)
            at = spread.tpr[0]
            ends[trial] = (
                naive(members, nonmembers, fpr),
                (at.interval.low, at.interval.high),
                (at.claim.low, at.claim.high),
                (spread.auc.low, spread.auc.high),
            )
        truth = np.array([tpr, tpr, tpr, auc])
        held = ((ends[:, :, 0] <= truth) & (truth <= ends[:, :, 1])).mean(axis=0)
        above = (truth > ends[:, :, 1]).mean(axis=0)
        width = (ends[:, :, 1] - ends[:, :, 0]).mean(axis=0)
        cells = (f"{h:.3f} / {a:.3f} / {w:.3f}" for h, a, w in zip(held, above, width, strict=True))
        print(f"{n1:>8}{n0:>9}{fpr:>7}{tpr:>9.3f}" + "".join(f"{cell:>24}" for cell in cells))


def gates(trials: int) -> None:
    gate = Gate.parse("tpr@0.01 <= 0.03")
    rng = np.random.default_rng(2026)
    together, every = 0, 0
    for _ in range(trials):
        heldout = rng.normal(0, 1, 360)
        sites = [rng.normal(0, 1, 144) for _ in range(10)]
        results: list[Membership] = [measure(np.concatenate(sites), heldout, scope="all sites", rng=rng)]
        results += [measure(scores, heldout, scope=str(k), rng=rng) for k, scores in enumerate(sites)]
        together += gate.check(results[:1]).passed
        every += gate.check(results).passed
    print(f"\nGate '{gate}' on a model that leaks nothing (10 sites of 144, 360 held out, {trials} trials):")
    print(f"passes on all sites together {together / trials:.2f}")
    print(f"passes on all sites together and on each of ten {every / trials:.2f}")


def speed() -> None:
    n1, n0, resamples, fpr = 1437, 360, 1000, 0.01
    rng = np.random.default_rng(2026)
    members, nonmembers = rng.normal(0.2, 1, n1), rng.normal(0, 1, n0)
    labels = np.repeat([1, 0], [n1, n0])

    def ours() -> None:
        bootstrap(members, nonmembers, (fpr,), rng=rng, resamples=resamples)

    def loop() -> None:
        for _ in range(resamples):
            curve = roc(rng.choice(members, n1), rng.choice(nonmembers, n0))
            curve.tpr_at(fpr)

    def sklearn_loop() -> None:
        for _ in range(resamples):
            scores = np.concatenate((rng.choice(members, n1), rng.choice(nonmembers, n0)))
            false, true, _ = roc_curve(labels, scores)
            true[np.searchsorted(false, fpr, side="right") - 1]
            roc_auc_score(labels, scores)

    def best(action: Callable[[], None], times: int) -> float:
        seconds = []
        for _ in range(times):
            start = time.perf_counter()
            action()
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    ours()  # the first call also imports scipy.special
    fast, slow, slowest = best(ours, 7), best(loop, 3), best(sklearn_loop, 3)
    print(f"Bootstrap of AUC and TPR, {n1} members, {n0} held out, {resamples} resamples (best of 7, best of 3)")
    print(f"{'vectorised':>22} {fast * 1000:8.1f} ms")
    print(f"{'loop over our roc':>22} {slow * 1000:8.1f} ms {slow / fast:7.1f} x")
    print(f"{'loop over scikit-learn':>22} {slowest * 1000:8.1f} ms {slowest / fast:7.1f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400)
    trials = parser.parse_args().trials
    speed()
    coverage(trials)
    gates(max(20, trials // 4))


if __name__ == "__main__":
    main()
