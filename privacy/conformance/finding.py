"""What a check of a running mechanism says."""

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check's answer.

    `p` is the chance, at most, that a mechanism which does what it claims looks this bad or worse; 0 or 1 where chance
    plays no part. `passed` says whether p is above the level of the check; `meaning` says it in words.
    """

    name: str
    statistic: float
    p: float
    passed: bool
    meaning: str
