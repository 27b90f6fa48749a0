"""Defences as a red team compares them: a bundle of the job's settings under a short name.

`trimmed-mean` is a rule alone, `nnm|trimmed-mean` has a step before it, `clip+nnm|krum` two, and further settings of
the job may follow, by the last part of their key where that tells it: `nnm|median|update_momentum=0.9`.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.settings import Scalar, nearest, parse_overrides
from hedgerow.simulations.sweeps.cells import scalar_text

if TYPE_CHECKING:
    from hedgerow.aggregation import Rule

__all__ = ["DEFAULT_DEFENCES", "Defence", "asked_in_a_round", "default_defences", "once", "rule_of"]

USUAL = "reject+arc+nnm|trimmed-mean"
DEFAULT_DEFENCES = (USUAL, f"{USUAL}|update_momentum=0.9", "nnm|trimmed-mean", "mean")
TOLD = "aggregate.byzantine"  # goes with the number of attackers, never with a defence


@dataclass(frozen=True, slots=True, kw_only=True)
class Defence:
    """A rule, the steps before it, and whatever else it changes in the job.

    >>> Defence.parse("clip+nnm|trimmed-mean").settings
    {'aggregate.rule': 'trimmed-mean', 'aggregate.before': 'clip+nnm'}
    """

    rule: str
    before: str
    more: Mapping[str, Scalar]

    @classmethod
    def parse(cls, text: str) -> Defence:
        """Read `RULE`, `BEFORE|RULE`, either followed by `|key=value`.

        Raises:
            Misconfigured: E103 for an unknown rule or step, E101 for a key that is not the job's, E102 for anything
                else, E105 for a setting that the rest states already.
        """
        parts, names = _parts(text)
        if not 1 <= len(names) <= 2 or not all(names) or parts[: len(names)] != names:
            hint = "write for example trimmed-mean, or nnm|trimmed-mean"
            raise Misconfigured("E102", f"'{text}' is no defence", place="defences", hint=hint)
        more: dict[str, Scalar] = {}
        for part in parts[len(names) :]:
            changed = {_whole(key): value for key, value in parse_overrides(part).items()}
            for key in changed:
                if key in (TOLD, "aggregate.rule", "aggregate.before") or key in more:
                    what = f"'{text}' states {key}, which is stated already"
                    hint = "how many sites are hostile is said by --f" if key == TOLD else ""
                    raise Misconfigured("E105", what, place="defences", hint=hint)
            more |= changed
        made = cls(rule=names[-1], before=names[0] if len(names) == 2 else "none", more=more)
        made.rule_against(1)
        return made

    @classmethod
    def of(cls, job: Job) -> Defence:
        """The job's own."""
        return cls(rule=job.aggregate.rule, before=job.aggregate.before, more={})

    @property
    def name(self) -> str:
        """As it is written.

        >>> Defence.parse("none|krum").name
        'krum'
        """
        more = [f"{_short(key)}={shlex.quote(scalar_text(value))}" for key, value in self.more.items()]
        return "|".join([*([] if self.before == "none" else [self.before]), self.rule, *more])

    @property
    def settings(self) -> dict[str, Scalar]:
        """What it changes in a job, without the number of hostile sites."""
        return {"aggregate.rule": self.rule, "aggregate.before": self.before, **self.more}

    @property
    def steps(self) -> int:
        """How much there is to it: the plain mean is 0, each step and each further setting adds one."""
        before = 0 if self.before == "none" else len(self.before.split("+"))
        return before + len(self.more) + (self.rule != "mean")

    def job(self, job: Job, f: int) -> Job:
        """The job with this defence, told of `f` hostile sites.

        Raises:
            Misconfigured: E101–E106 if the job cannot be so; of a setting of its own, the place is the defences.
        """
        from hedgerow.aggregation import supports_weights

        changed = {**self.settings, TOLD: f}
        if job.aggregate.weights == "examples" and not supports_weights(self.rule, self.before):
            changed.setdefault("aggregate.weights", "uniform")
        try:
            return job.override(changed)
        except Misconfigured as error:
            if not self.more:
                raise
            raise Misconfigured(
                error.code, f"in '{self.name}': {error.message}", place="defences", hint=error.hint
            ) from None

    def rule_against(self, f: int) -> Rule:
        """The rule itself, told of `f` hostile sites.

        Raises:
            Misconfigured: E103 for an unknown name.
        """
        from hedgerow.aggregation import make_rule

        try:
            return make_rule(self.rule, byzantine=f, before=self.before)
        except Misconfigured as error:
            raise Misconfigured(error.code, error.message, place="defences", hint=error.hint) from None

    def unfit(self, f: int, n: int) -> str:
        """Why the rule does not run with `f` hostile ones among `n` updates; empty where it does.

        >>> Defence.parse("krum").unfit(4, 10)
        'it needs 11 updates a round against 4 hostile sites, and 10 are asked for'
        """
        needed = self.rule_against(f).needs(f)
        sites = f"{f} hostile site" + ("s" if f > 1 else "")
        return f"it needs {needed} updates a round against {sites}, and {n} are asked for" if n < needed else ""

    def unsound(self, f: int, n: int) -> str:
        """Why the rule promises nothing against `f` hostile ones among `n`; empty where it does.

        >>> Defence.parse("mean").unsound(1, 10), Defence.parse("median").unsound(3, 10)
        ('it tolerates no hostile site', '')
        """
        if self.unfit(f, n):
            return self.unfit(f, n)
        most = min(self.rule_against(f).tolerates(n), (n - 1) // 2)
        if f <= most:
            return ""
        return f"it tolerates {most or 'no'} hostile site{'s' if most > 1 else ''}" + (f" of {n}" if most else "")


def rule_of(text: str) -> str:
    """The rule's name in a defence as it is written, known here or not.

    >>> rule_of("nnm|median|update_momentum=0.9")
    'median'
    """
    return _parts(text)[1][-1]


def _parts(text: str) -> tuple[list[str], list[str]]:
    """What stands between the bars, and what of it are names."""
    parts = [part.strip() for part in text.split("|")]
    return parts, [part for part in parts if "=" not in part]


def _short(key: str) -> str:
    """A key's last part, where no other key of the job has the same.

    >>> _short("local.update_momentum"), _short("server.momentum")
    ('update_momentum', 'server.momentum')
    """
    last = key.rpartition(".")[2]
    return last if [other.rpartition(".")[2] for other in Job.keys()].count(last) == 1 else key


def _whole(key: str) -> str:
    """The job's key that a word stands for.

    Raises:
        Misconfigured: E101 if there is none.
    """
    found = next((known for known in Job.keys() if key in (known, _short(known))), None)
    if found is None:
        raise Misconfigured("E101", f"unknown key '{key}'", place="defences", hint=nearest(key, Job.keys()))
    return found


def default_defences(job: Job) -> tuple[Defence, ...]:
    """The job's own, some that are worth comparing it with, and the plain mean: what happens without a defence."""
    own = Defence.of(job)
    others = [Defence.parse(name) for name in DEFAULT_DEFENCES]
    return once([own, *(each for each in others if each.job(job, 1) != own.job(job, 1))])


def once(defences: Sequence[Defence]) -> tuple[Defence, ...]:
    """Each defence where it first stands."""
    by_name: dict[str, Defence] = {}
    for each in defences:
        by_name.setdefault(each.name, each)
    return tuple(by_name.values())


def asked_in_a_round(job: Job, sites: int) -> int:
    """How many updates a round asks for."""
    return min(sites, math.ceil(sites * job.cohort.fraction * (1 + job.cohort.over_select) - 1e-9))
