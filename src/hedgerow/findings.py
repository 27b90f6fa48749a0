"""What `hedgerow check` says: one finding per line, the worst first."""

from collections.abc import Iterable
from dataclasses import dataclass

from hedgerow.errors import CODES, HedgerowError, error_of

__all__ = ["LEVELS", "Finding", "refuse_errors"]

LEVELS = ("error", "warning", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An `error` keeps the job from starting, a `warning` does not, a `note` is a fact worth knowing.

    `code` is one of `hedgerow.errors.CODES`; only an error must have one.
    """

    level: str
    message: str
    code: str = ""
    place: str = ""
    hint: str = ""

    def __post_init__(self) -> None:
        if self.level not in LEVELS or (self.code not in CODES and (self.code or self.level == "error")):
            raise KeyError(f"{self.level} {self.code}")

    @classmethod
    def of(cls, error: HedgerowError) -> "Finding":
        return cls(level="error", code=error.code, message=error.message, place=error.place, hint=error.hint)


def refuse_errors(findings: Iterable[Finding]) -> None:
    """Raise the first error among the findings.

    Raises:
        HedgerowError: of the code's family, with that finding's code, place and hint.
    """
    for finding in findings:
        if finding.level == "error":
            raise error_of(finding.code, finding.message, place=finding.place, hint=finding.hint)
