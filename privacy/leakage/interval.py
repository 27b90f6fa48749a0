"""How far a measured leak may be from the truth, given the records at hand.

Two intervals, for two uses. `bootstrap` is for describing: close to its nominal coverage once about ten held-out
records decide the threshold. `conservative_tpr` is for claims: its coverage is at least nominal for any sample
size and any distribution, because it counts the uncertainty of the threshold *and* of the rate.

>>> interval = conservative_tpr([2.0] * 50 + [0.0] * 50, [1.0] * 200, 0.05)
>>> interval.value, round(interval.low, 3), round(interval.high, 3)
(0.5, 0.385, 0.615)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hedgerow.errors import Misconfigured
from hedgerow.privacy.leakage.roc import Counts, Floats, Roc, Tally, allowed_false_alarms, curve_of, roc, tally

__all__ = [
    "FEW",
    "ROUGH",
    "UNRESOLVABLE",
    "Interval",
    "Spread",
    "TprAt",
    "bootstrap",
    "conservative_auc",
    "conservative_tpr",
    "replicate",
    "spread_of",
]

FEW = 10  # below this many records a resample repeats the same few values and its spread means little
MANY = 32  # records a threshold from which drawing the counts beats drawing the records
CELLS = 1 << 20  # counts held at once by a block of resamples: 8 MiB, whatever the number of records

UNRESOLVABLE = (
    "Too few held-out records for this false positive rate: not even one false alarm fits in it, so the figure is "
    "the rate with no false alarm at all. Only the interval for claims means anything here."
)
ROUGH = "Fewer than 10 held-out records decide the threshold: the interval is rough; use the one for claims."


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A measured value and the two ends between which the truth lies with the stated confidence."""

    value: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TprAt:
    """The share of members found at one false positive rate.

    `interval` describes (bootstrap), `claim` holds for any sample size (`conservative_tpr`). `resolvable` is false
    when `fpr` is less than one held-out record; `note` says in constant words what to beware of, or is empty.
    """

    fpr: float
    interval: Interval
    claim: Interval
    resolvable: bool
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What `bootstrap` returns: the area under the curve, and one `TprAt` per false positive rate asked for."""

    auc: Interval
    tpr: tuple[TprAt, ...]


def bootstrap(
    members: ArrayLike,
    nonmembers: ArrayLike,
    fprs: Sequence[float] = (0.01,),
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> Spread:
    """Measure a leak and its interval by drawing both groups again, with replacement, many times.

    Members and non-members are drawn independently, and each resample finds its own threshold: an interval that
    takes the threshold as given is far too narrow at small false positive rates. Percentile intervals. Where the
    bootstrap is blind (a group of fewer than 10 records, or resamples that never differ, as with constant or
    perfectly separated scores), the distribution-free interval stands in its place.

    Raises: Misconfigured E103 for a rate or a confidence outside (0, 1) or fewer than one resample; and as `roc`.
    Source: Efron and Tibshirani 1993, chapters 8.3 (two samples) and 13.3 (percentile interval).
    Cost: O(resamples * n) time, memory independent of the number of resamples.
    """
    ranks = tally(members, nonmembers)
    return spread_of(ranks, curve_of(ranks), fprs, rng=rng, confidence=confidence, resamples=resamples)


def spread_of(
    ranks: Tally,
    curve: Roc,
    fprs: Sequence[float],
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> Spread:
    """As `bootstrap`, of records that are ranked already and their curve. Raises as `bootstrap`."""
    for fpr in fprs:
        _must_be_a_share(fpr, "fprs")
    _must_be_a_share(confidence, "confidence")
    if resamples < 1:
        raise Misconfigured("E103", f"{resamples} resamples", place="resamples", hint="1000 is a good number")
    allowed = [allowed_false_alarms(fpr, curve.nonmembers) for fpr in fprs]
    few = min(curve.members, curve.nonmembers) < FEW
    if few:  # no resample would be looked at
        ends = np.zeros((2, 1 + len(fprs)))
    else:
        areas, rates = _resampled(ranks, allowed, resamples, rng)
        shares = [(1 - confidence) / 2, (1 + confidence) / 2]
        ends = np.quantile(np.column_stack((areas, rates)), shares, axis=0)
    (auc_low, *lows), (auc_high, *highs) = ends.tolist()

    if few or auc_low == auc_high:
        auc = _auc_claim(curve, confidence)
    else:
        auc = Interval(value=curve.auc, low=auc_low, high=auc_high, confidence=confidence)

    found = []
    for fpr, alarms, low, high in zip(fprs, allowed, lows, highs, strict=True):
        claim = _tpr_claim(ranks, curve, fpr, confidence)
        blind = few or low == high
        interval = claim if blind else Interval(value=claim.value, low=low, high=high, confidence=confidence)
        note = UNRESOLVABLE if alarms < 1 else ROUGH if alarms < FEW else ""
        found.append(TprAt(fpr=fpr, interval=interval, claim=claim, resolvable=alarms >= 1, note=note))
    return Spread(auc=auc, tpr=tuple(found))


def replicate(hits: Counts, alarms: Counts, allowed: Sequence[int]) -> tuple[Floats, Floats]:
    """The area and the rates of many resamples at once, from how often each distinct score was drawn.

    `hits (r, k)` counts members and `alarms (r, k)` non-members per threshold, most member-like first; `allowed`
    are numbers of false alarms. Returns areas `(r,)` and true positive rates `(r, len(allowed))`, equal to what
    `roc` says of each resample.
    """
    n1, n0 = int(hits[0].sum()), int(alarms[0].sum())
    accused = np.cumsum(alarms, axis=1)
    outscored = 2 * (n0 - accused) + alarms
    areas = np.einsum("rk,rk->r", hits, outscored) / (2 * n1 * n0)
    found = np.zeros((hits.shape[0], hits.shape[1] + 1), dtype=np.int64)
    np.cumsum(hits, axis=1, out=found[:, 1:])
    rows = np.arange(hits.shape[0])
    rates = [found[rows, np.count_nonzero(accused <= count, axis=1)] / n1 for count in allowed]
    return areas, np.stack(rates, axis=1) if rates else np.empty((len(rows), 0))


def conservative_auc(members: ArrayLike, nonmembers: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """An interval for the area that holds for any distribution, and is wide when either group is small.

    Source: Hoeffding 1963, section 5b: a two-sample U-statistic with a kernel in [0, 1] strays from its mean by t
    or more with probability at most `2 exp(-2 min(n1, n0) t^2)`.

    >>> interval = conservative_auc([1.0] * 200, [0.0] * 200)
    >>> interval.value, round(interval.low, 3), interval.high
    (1.0, 0.904, 1.0)
    """
    _must_be_a_share(confidence, "confidence")
    return _auc_claim(roc(members, nonmembers), confidence)


def _auc_claim(curve: Roc, confidence: float) -> Interval:
    reach = math.sqrt(math.log(2 / (1 - confidence)) / (2 * min(curve.members, curve.nonmembers)))
    low, high = max(0.0, curve.auc - reach), min(1.0, curve.auc + reach)
    return Interval(value=curve.auc, low=low, high=high, confidence=confidence)


def conservative_tpr(members: ArrayLike, nonmembers: ArrayLike, fpr: float, *, confidence: float = 0.95) -> Interval:
    """An interval for the true positive rate at `fpr` that may be quoted in a claim.

    Guarantee: covers the best rate that any threshold with a *true* false positive rate of at most `fpr` reaches,
    with at least the stated confidence, for any distribution, ties included. Half of the allowed error pays for the
    threshold (an interval of order statistics of the held-out scores), half for the rate (Clopper-Pearson).

    Below `1 / fpr` held-out records `low` says little, but `high` still holds. Raises as `bootstrap`, and
    Misconfigured E107 without scipy.
    Source: David and Nagaraja 2003, Order Statistics, section 7.1; Clopper and Pearson 1934.
    """
    _must_be_a_share(fpr, "fpr")
    _must_be_a_share(confidence, "confidence")
    ranks = tally(members, nonmembers)
    return _tpr_claim(ranks, curve_of(ranks), fpr, confidence)


def _tpr_claim(ranks: Tally, curve: Roc, fpr: float, confidence: float) -> Interval:
    tail = (1 - confidence) / 4
    fewest, most = _binomial_range(curve.nonmembers, fpr, tail)
    descending = np.sort(ranks.nonmembers)  # thresholds count from the largest score
    # With `fewest` or more held-out scores above the true threshold, the fewest-th largest lies at or above it; with
    # at most `most` above it, the next one lies at or below. Strict comparison keeps both true when scores tie.
    surely = int(np.count_nonzero(ranks.members < descending[fewest - 1])) if fewest > 0 else 0
    all_of_them = most >= curve.nonmembers
    perhaps = curve.members if all_of_them else int(np.count_nonzero(ranks.members < descending[most]))
    low, _ = _clopper_pearson(surely, curve.members, tail)
    _, high = _clopper_pearson(perhaps, curve.members, tail)
    value = curve.tpr_at(fpr)
    # Sample and population may disagree by an atom of tied scores: the value never lies outside its own interval.
    return Interval(value=value, low=min(low, value), high=max(high, value), confidence=confidence)


def _resampled(ranks: Tally, allowed: Sequence[int], resamples: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    ranks = _merged(ranks)
    groups = [np.bincount(places, minlength=ranks.thresholds) for places in (ranks.members, ranks.nonmembers)]
    block = max(1, CELLS // max(ranks.thresholds, *(_drawn_one_by_one(counts) for counts in groups)))
    areas, rates = [], []
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        hits = _drawn(ranks.members, groups[0], rows, rng)
        alarms = _drawn(ranks.nonmembers, groups[1], rows, rng)
        area, rate = replicate(hits, alarms, allowed)
        areas.append(area)
        rates.append(rate)
    return np.concatenate(areas), np.concatenate(rates)


def _merged(ranks: Tally) -> Tally:
    """The same order with neighbouring thresholds of one group alone made one: no resample can tell the difference.

    Between two thresholds that only members reach, neither the area nor the best rate under a number of false alarms
    can change; likewise for non-members. A threshold where both groups tie stays by itself.
    """
    only_members = np.bincount(ranks.nonmembers, minlength=ranks.thresholds) == 0
    only_nonmembers = np.bincount(ranks.members, minlength=ranks.thresholds) == 0
    joins = (only_members[1:] & only_members[:-1]) | (only_nonmembers[1:] & only_nonmembers[:-1])
    place = np.concatenate(([0], np.cumsum(~joins)))
    return Tally(members=place[ranks.members], nonmembers=place[ranks.nonmembers], thresholds=int(place[-1]) + 1)


def _drawn_one_by_one(counts: Counts) -> int:
    """How many records to draw singly: none where there are so many at each threshold that counts are cheaper."""
    records = int(counts.sum())
    return 0 if records > MANY * np.count_nonzero(counts) else records


def _drawn(places: NDArray[np.intp], counts: Counts, rows: int, rng: np.random.Generator) -> Counts:
    """How often each threshold comes up when the group is drawn again, `rows` times: shape `(rows, thresholds)`.

    `counts (thresholds,)` says how many of the group's `places` are at each. Both ways have one distribution.
    """
    thresholds = len(counts)
    if not _drawn_one_by_one(counts):
        held = np.flatnonzero(counts)
        found = np.zeros((rows, thresholds), dtype=np.int64)
        found[:, held] = rng.multinomial(len(places), counts[held] / len(places), size=rows)
        return found
    picks = places[rng.integers(len(places), size=(rows, len(places)))]
    picks += thresholds * np.arange(rows)[:, None]
    return np.bincount(picks.ravel(), minlength=rows * thresholds).reshape(rows, thresholds)


@lru_cache(maxsize=1 << 14)
def _clopper_pearson(successes: int, trials: int, tail: float) -> tuple[float, float]:
    """Exact ends for a proportion, each missed with probability at most `tail`."""
    special = _special()
    low = float(special.betaincinv(successes, trials - successes + 1, tail)) if successes > 0 else 0.0
    high = float(special.betaincinv(successes + 1, trials - successes, 1 - tail)) if successes < trials else 1.0
    return low, high


@lru_cache(maxsize=1 << 14)
def _binomial_range(trials: int, share: float, tail: float) -> tuple[int, int]:
    """The smallest and the largest count to reckon with: each side is passed with probability at most `tail`."""
    at_most = _special().bdtr(np.arange(trials + 1), trials, share)
    return int(np.searchsorted(at_most, tail)), min(int(np.searchsorted(at_most, 1 - tail)), trials)


def _must_be_a_share(value: float, place: str) -> None:
    if not 0.0 < value < 1.0:
        raise Misconfigured("E103", f"{value} is not strictly between 0 and 1", place=place)


def _special() -> ModuleType:
    try:
        return import_module("scipy.special")  # loaded on use: importing this package must stay light
    except ModuleNotFoundError as missing:
        raise Misconfigured(
            "E107", "intervals for claims need scipy", place="privacy.leakage", hint="pip install 'hedgerow[full]'"
        ) from missing
