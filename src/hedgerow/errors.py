"""What can go wrong, and what to do about it.

```
HedgerowError            exit code
├── Misconfigured  E1xx      2   the job, the project or the data cannot be used as they are
├── Refused        E2xx      3   a site said no, and its reason is final
├── Rejected       E3xx      4   one update was bad; the round went on without it
├── Tampered       E4xx      5   a file, a log or a signature is not what it was
└── Exhausted      E5xx      6   no budget, quorum, time or space is left
```

Every error has a stable code, says what happened, where, and what to do next. A message that may
cross the network is the error's `title`: a constant text, because an exception's own words can
carry a record (`ValueError("secret patient 42")`).
"""

from typing import ClassVar

__all__ = ["CODES", "Exhausted", "HedgerowError", "Misconfigured", "Refused", "Rejected", "Tampered", "error_of"]

CODES: dict[str, str] = {
    # Misconfigured: the command line and the job
    "E100": "the command line cannot be read",
    "E101": "unknown key",
    "E102": "wrong type",
    "E103": "value out of range",
    "E104": "a choice must be written out",
    "E105": "settings contradict each other",
    "E106": "not available in this version",
    "E107": "a needed extra is not installed",
    # Misconfigured: the project and the run folder
    "E110": "project not found",
    "E111": "project cannot be loaded",
    "E112": "run not found",
    "E113": "the run folder belongs to another job or version",
    "E114": "port in use",
    "E115": "the target already exists",
    "E116": "the cluster cannot be used",
    "E117": "ledger or data set not found",
    # Misconfigured: the data
    "E120": "data file cannot be read",
    "E121": "column missing",
    "E122": "column cannot be used",
    "E123": "missing or non-finite values",
    "E124": "labels out of range",
    "E125": "a site has too few records",
    "E126": "shapes or dtypes differ between sites",
    "E127": "the same record at more than one site",
    # Misconfigured: the model under differential privacy
    "E130": "the model mixes records, so it cannot be trained with record-level privacy",
    "E131": "no noise level meets the budget",
    "E132": "delta is too large for the number of records",
    "E133": "the noise drowns what there is to learn",
    # Refused
    "E201": "the site's privacy budget would be exceeded",
    "E202": "the job differs from the one the site approved",
    "E203": "the site cannot train this job",
    "E204": "the charge is not open in the ledger",
    "E205": "the request is not a Hedgerow coordinator's",
    # Rejected
    "E301": "wrong shape or size",
    "E302": "wrong dtype",
    "E303": "non-finite values",
    "E304": "example count out of range",
    "E305": "no update in the reply",
    "E306": "unknown or repeated sender",
    "E307": "reply for another round",
    "E308": "the site failed while training",
    "E309": "no answer before the deadline",
    "E310": "excluded by the aggregation rule",
    # Tampered
    "E401": "checkpoint does not match its hash",
    "E402": "ledger chain is broken",
    "E403": "event log is damaged",
    # Exhausted
    "E501": "too few sites answered",
    "E502": "more bad updates than the rule tolerates",
    "E503": "no space left on the disk",
    "E504": "the folder cannot be written",
    "E505": "time is up",
    "E506": "another process holds the run",
    "E507": "a release gate failed",
    "E508": "the privacy mechanism does not do what it claims",
    # Not foreseen
    "E900": "internal error",
    "E901": "interrupted",
    "E902": "a process ended before its time",
}


class HedgerowError(Exception):
    """Something Hedgerow can name: `code`, `message`, `place` and `hint`.

    Raises:
        KeyError: if the code is not in `CODES`: every code is documented before it is used.

    >>> error = Misconfigured("E101", "unknown key 'rouns'", place="pyproject.toml:12", hint="did you mean 'rounds'?")
    >>> print(error)
    E101 unknown key 'rouns' (pyproject.toml:12); did you mean 'rounds'?
    """

    exit_code: ClassVar[int] = 1
    family: ClassVar[str] = "E9"

    def __init__(self, code: str, message: str, *, place: str = "", hint: str = "") -> None:
        if not code.startswith(self.family):
            raise KeyError(f"{code} is not a code of {type(self).__name__}")
        self.title = CODES[code]
        self.code = code
        self.message = message
        self.place = place
        self.hint = hint
        super().__init__(code, message)

    def __str__(self) -> str:
        where = f" ({self.place})" if self.place else ""
        next_step = f"; {self.hint}" if self.hint else ""
        return f"{self.code} {self.message}{where}{next_step}"

    def __reduce__(self) -> tuple[object, ...]:  # errors cross process boundaries under Ray
        return (_rebuild, (type(self), self.code, self.message, self.place, self.hint))


def _rebuild(kind: type[HedgerowError], code: str, message: str, place: str, hint: str) -> HedgerowError:
    return kind(code, message, place=place, hint=hint)


class Misconfigured(HedgerowError):
    """The job, the project or the data cannot be used as they are."""

    exit_code = 2
    family = "E1"


class Refused(HedgerowError):
    """A site said no: its policy or its budget does not allow what was asked."""

    exit_code = 3
    family = "E2"


class Rejected(HedgerowError):
    """One update was bad. The round goes on without it."""

    exit_code = 4
    family = "E3"


class Tampered(HedgerowError):
    """A file, a log or a signature is not what it was when it was written."""

    exit_code = 5
    family = "E4"


class Exhausted(HedgerowError):
    """No budget, quorum, time or space is left. What was finished is kept."""

    exit_code = 6
    family = "E5"


_FAMILIES = (Misconfigured, Refused, Rejected, Tampered, Exhausted, HedgerowError)


def error_of(code: str, message: str, *, place: str = "", hint: str = "") -> HedgerowError:
    """The error of a code that was read somewhere, in the code's own family.

    Raises:
        KeyError: if the code is not in `CODES`.

    >>> error_of("E503", "the disk is full").exit_code
    6
    """
    family = next(kind for kind in _FAMILIES if CODES[code] and code.startswith(kind.family))
    return family(code, message, place=place, hint=hint)
