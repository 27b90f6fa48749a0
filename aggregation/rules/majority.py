"""What the rules have in common that hold as long as most rows are honest, whether or not they were told a number."""

from dataclasses import dataclass

from hedgerow.aggregation.kappa import least_kappa
from hedgerow.aggregation.rule import Rule

__all__ = ["MajorityRule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MajorityRule(Rule):
    """A median of the rows in some sense. `f`, where it is told, bounds how many rows may be hostile.

    κ: 4 (1 + f/(n-2f))² (Allouah et al., AISTATS 2023, arXiv:2302.01772, Table 1: coordinate-wise median and geometric
    median alike).
    """

    f: int | float | None = None

    def kappa(self, n: int) -> float | None:
        f = self.byzantine(n)
        least = None if f is None else least_kappa(f, n)
        return None if least is None else 4 * (1 + least) ** 2
