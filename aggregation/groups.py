"""What survives of robustness when the server sees sums of groups instead of single updates."""

from dataclasses import dataclass

from hedgerow.errors import Misconfigured

__all__ = ["Groups"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Rows that are means of secure groups of at least `size` sites, `f` of all sites hostile.

    One hostile site spoils its group's mean, so up to `min(f, m)` of m groups are hostile: a rule withstands them while
    m > 2f. Privacy pays with breakdown: fewer than n / (2 size) hostile sites instead of n / 2. Inside its group a site
    whose update is clipped to tau before masking moves the mean by at most 2 tau / size. Sites must be put into new
    random groups every round, otherwise a hostile one spoils the same neighbours each time.

    >>> Groups(size=5, f=4).rows(50), Groups(size=5, f=4).hostile(10)
    (10, 4)
    """

    size: int
    f: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise Misconfigured("E103", f"the size of a group must be at least 1, not {self.size}")
        if self.f < 0:
            raise Misconfigured("E103", f"f must not be negative, not {self.f}")

    def rows(self, n: int) -> int:
        """How many groups n sites make: what is left over joins the others, so that no group is smaller than `size`."""
        return n // self.size

    def hostile(self, m: int) -> int:
        """How many of m group means may be hostile: the `f` to tell a rule for these m rows.

        Raises:
            Misconfigured: E103 if that is half of them or more, where no rule helps.
        """
        hostile = min(self.f, m)
        if m <= 2 * hostile:
            raise Misconfigured(
                "E103",
                f"{self.f} hostile sites can spoil {hostile} of {m} groups, and a rule withstands less than half",
                hint=f"make groups smaller than {self.size}, or ask more sites",
            )
        return hostile
