"""Rules by the names that a job file uses, and what the planner must know about them before a round runs."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from hedgerow.aggregation.defences.divide_and_conquer import DnC
from hedgerow.aggregation.defences.fl_detector import FLDetector
from hedgerow.aggregation.defences.flame import Flame
from hedgerow.aggregation.defences.fltrust import FLTrust
from hedgerow.aggregation.defences.foolsgold import FoolsGold
from hedgerow.aggregation.defences.reputation import Reputation
from hedgerow.aggregation.defences.robust_learning_rate import RobustLearningRate
from hedgerow.aggregation.defences.sign_guard import SignGuard
from hedgerow.aggregation.rule import Before, Rule
from hedgerow.aggregation.rules.around import MeaMed, Phocas
from hedgerow.aggregation.rules.averaging import Mean
from hedgerow.aggregation.rules.bulyan import Bulyan
from hedgerow.aggregation.rules.centered_clipping import CenteredClipping
from hedgerow.aggregation.rules.coordinatewise import Median, TrimmedMean
from hedgerow.aggregation.rules.geometric import GeometricMedian
from hedgerow.aggregation.rules.minimum_diameter import MDA
from hedgerow.aggregation.rules.monna import MoNNA
from hedgerow.aggregation.rules.selection import Krum, MultiKrum
from hedgerow.aggregation.rules.spectral import Spectral
from hedgerow.aggregation.steps.arc import ARC
from hedgerow.aggregation.steps.bucketing import Bucketing
from hedgerow.aggregation.steps.clipping import ClipNorms
from hedgerow.aggregation.steps.mixing import NNM
from hedgerow.aggregation.steps.rejecting import RejectLong
from hedgerow.errors import Misconfigured

__all__ = [
    "BEFORE",
    "NO_STEP",
    "RULES",
    "add_rule",
    "check_names",
    "is_own",
    "make_before",
    "make_rule",
    "minimum_rows",
    "recall",
    "supports_weights",
]

Maker = Callable[[int, bool], Rule]

_rules: dict[str, Maker] = {
    "mean": lambda f, strict: Mean(f=f),
    "median": lambda f, strict: Median(f=f),
    "trimmed-mean": lambda f, strict: TrimmedMean(f=f),
    "meamed": lambda f, strict: MeaMed(f=f),
    "phocas": lambda f, strict: Phocas(f=f),
    "krum": lambda f, strict: Krum(f=f, strict=strict),
    "multi-krum": lambda f, strict: MultiKrum(f=f, strict=strict),
    "bulyan": lambda f, strict: Bulyan(f=f, strict=strict),
    "mda": lambda f, strict: MDA(f=f),
    "monna": lambda f, strict: MoNNA(f=f),
    "geometric-median": lambda f, strict: GeometricMedian(f=f),
    "centered-clipping": lambda f, strict: CenteredClipping(f=f),
    "spectral": lambda f, strict: Spectral(f=f),
    "fltrust": lambda f, strict: FLTrust(f=f),
    "foolsgold": lambda f, strict: FoolsGold(f=f),
    "flame": lambda f, strict: Flame(f=f),
    "dnc": lambda f, strict: DnC(f=f),
    "sign-guard": lambda f, strict: SignGuard(f=f),
    "fl-detector": lambda f, strict: FLDetector(f=f),
    "robust-learning-rate": lambda f, strict: RobustLearningRate(threshold=2 * f + 1, rule=Mean(f=f)),
    "reputation": lambda f, strict: Reputation(rule=TrimmedMean(f=f)),
}

_owners: dict[str, str] = {}
RECALLED = "a record"  # the owner of a name that a record brought, and nobody here registered

RULES: Mapping[str, Maker] = MappingProxyType(_rules)
"""What `aggregate.rule` may be in a job: name to a maker from (byzantine, strict). `register_rule` adds to it."""

BEFORE: Mapping[str, Callable[[int], Before]] = MappingProxyType(
    {
        "clip": lambda f: ClipNorms(),
        "reject": lambda f: RejectLong(f=f),
        "arc": lambda f: ARC(f=f),
        "nnm": lambda f: NNM(f=f),
        "bucketing": lambda f: Bucketing(),
    }
)
"""The steps that `aggregate.before` may join with `+`, as in `"arc+nnm"`: name to a maker from (byzantine)."""

NO_STEP = "none"
"""What `aggregate.before` is in a job whose rows go to the rule as they are."""


def make_rule(rule: str, *, byzantine: int, before: str = NO_STEP, strict: bool = True) -> Rule:
    """The rule that a job names, told how many hostile rows to expect.

    >>> make_rule("trimmed-mean", byzantine=2, before="arc+nnm")
    ARC(f=2) | NNM(f=2) | TrimmedMean(f=2)

    Raises:
        Misconfigured: E103 for an unknown name (the hint is the nearest one) or a negative `byzantine`.
    """
    if byzantine < 0:
        raise Misconfigured("E103", f"byzantine must not be negative, not {byzantine}", place="aggregate.byzantine")
    last = RULES[_known(rule, RULES, "aggregate.rule")](byzantine, strict)
    first = make_before(before, byzantine)
    return last if first is None else first | last


def make_before(before: str, byzantine: int) -> Before | None:
    """The steps that a job names, in their order, or None for `"none"`.

    >>> make_before("clip+nnm", 2)
    ClipNorms(tau=None) | NNM(f=2)

    Raises:
        Misconfigured: E103 for an unknown or repeated name.
    """
    if before == NO_STEP:
        return None
    names = before.split("+")
    made: Before | None = None
    for place, name in enumerate(names):
        if name in names[:place]:
            raise Misconfigured(
                "E103",
                f"'aggregate.before' names '{name}' twice",
                place="aggregate.before",
                hint=f"write '{name}' once, at its place in the order",
            )
        if name == NO_STEP:
            raise Misconfigured(
                "E103",
                f"'aggregate.before' joins '{NO_STEP}' with steps",
                place="aggregate.before",
                hint=f"write '{NO_STEP}' alone, or leave it out",
            )
        step = BEFORE[_known(name, BEFORE, "aggregate.before")](byzantine)
        made = step if made is None else made | step
    return made


def check_names(rule: str, before: str) -> None:
    """Whether a job may use these names.

    Raises:
        Misconfigured: E103, as `make_rule`.
    """
    _known(rule, RULES, "aggregate.rule")
    make_before(before, 0)


def minimum_rows(rule: str, byzantine: int, before: str = NO_STEP, *, strict: bool = True) -> int:
    """The fewest rows that the rule needs to withstand `byzantine` hostile ones. Fewer raise when it is used.

    >>> minimum_rows("krum", 2), minimum_rows("trimmed-mean", 2), minimum_rows("mean", 0)
    (7, 5, 1)

    Raises:
        Misconfigured: as `make_rule`.
    """
    return make_rule(rule, byzantine=byzantine, before=before, strict=strict).needs(byzantine)


def supports_weights(rule: str, before: str = NO_STEP) -> bool:
    """Whether the rule, behind these steps, can use server-known weights, one per row.

    >>> supports_weights("trimmed-mean", "arc+nnm"), supports_weights("bulyan")
    (True, False)

    Raises:
        Misconfigured: E103 for an unknown name.
    """
    made = make_rule(rule, byzantine=0, before=before)
    return made.last.weighted and all(step.weighted for step in made.before)


def add_rule(name: str, maker: Maker, owner: str) -> None:
    """Let jobs name one rule more. `owner` names the function behind it, whose module may be loaded again.

    Raises:
        Misconfigured: E103 if another owner has the name, or it is not lower-case words joined with `-`.
    """
    if not name or name != name.lower() or not name.replace("-", "").isalnum() or not name.isascii():
        raise Misconfigured("E103", f"a rule's name is lower-case words joined with '-', not {name!r}")
    if name in _rules and _owners.get(name) not in (owner, RECALLED):
        raise Misconfigured("E103", f"there is a rule named '{name}' already", hint="choose another name")
    _rules[name], _owners[name] = maker, owner


def recall(name: str, maker: Maker) -> None:
    """Let a record name a rule that nobody registered here; whoever registers it later takes its place.

    Raises:
        Misconfigured: E103 as `add_rule`, if it can be no rule's name.
    """
    if (name not in RULES or _owners.get(name) == RECALLED) and name not in BEFORE:
        add_rule(name, maker, RECALLED)


def is_own(name: str) -> bool:
    """Whether a rule is a user's own, registered or recalled.

    >>> is_own("median")
    False
    """
    return name in _owners


def _known(name: str, names: Mapping[str, object], place: str) -> str:
    if name in names:
        return name
    raise Misconfigured("E103", f"'{place}' cannot be {name!r}", place=place, hint=_way_on(name, names))


def _way_on(name: str, names: Mapping[str, object]) -> str:
    if names is RULES and name in BEFORE:
        return f"'{name}' is a step before the rule: write it into aggregate.before"
    if names is BEFORE and name in RULES:
        return f"'{name}' is a rule: write it into aggregate.rule"
    near = get_close_matches(name.lower().replace("_", "-"), names, n=1)
    steps = f"'{NO_STEP}', or steps joined with '+': " if names is BEFORE else ""
    return (f"did you mean '{near[0]}'? " if near else "") + f"the choices are {steps}" + ", ".join(names)
