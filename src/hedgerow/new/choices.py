"""The values of a new job that depend on how many sites there are and how large they are."""

from __future__ import annotations

from dataclasses import dataclass

from hedgerow.contract import suggest_delta

__all__ = ["Choices", "choose"]

FEWEST_SITES_TO_OUTVOTE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a new project's job and scenario say, and `reasons` in words for the person who reads them."""

    sites: int
    split: str
    batch: int
    delta: float
    byzantine: int
    quorum: int
    reasons: tuple[str, ...]

    @property
    def rule(self) -> str:
        return "trimmed-mean" if self.byzantine else "mean"

    @property
    def before(self) -> str:
        return "reject+arc+nnm" if self.byzantine else "clip"


def choose(*, sites: int, split: str, smallest: int, largest: int) -> Choices:
    """Choose for `sites` sites of `smallest` to `largest` training records.

    δ is below 1/n at every site, so the largest site decides. A fifth of the sites may be hostile, at least one from
    four sites on, which keeps n > 2f; the quorum keeps n > 2f also when sites stay silent. A batch is at most half of
    the smallest site, so that drawing it amplifies privacy.

    >>> chosen = choose(sites=8, split="column", smallest=40, largest=60)
    >>> chosen.byzantine, chosen.quorum, chosen.batch, chosen.delta
    (1, 3, 16, 0.0001)
    """
    byzantine = max(1, sites // 5) if sites >= FEWEST_SITES_TO_OUTVOTE else 0
    quorum = max(min(2, sites), 2 * byzantine + 1)
    delta = suggest_delta(largest)
    reasons = [
        f"privacy.delta = {delta:g}: it must be below 1/n at every site, and none trains on more than "
        f"{largest:,} record{'' if largest == 1 else 's'}"
    ]
    if byzantine:
        reasons.append(
            f"aggregate.byzantine = {byzantine}: {byzantine} of the {sites} sites may be hostile; "
            f"a round needs more than twice as many answers, so cohort.quorum = {quorum}"
        )
    else:
        reasons.append(
            f"aggregate.byzantine = 0: with {sites} site{'' if sites == 1 else 's'} nobody can be outvoted, "
            f"so the rule is the mean; it takes {FEWEST_SITES_TO_OUTVOTE} sites to tolerate a hostile one"
        )
    return Choices(
        sites=sites,
        split=split,
        batch=_batch(smallest),
        delta=delta,
        byzantine=byzantine,
        quorum=quorum,
        reasons=tuple(reasons),
    )


def _batch(smallest: int) -> int:
    return max(size for size in (1, 2, 4, 8, 16, 32) if size == 1 or size <= smallest / 2)
