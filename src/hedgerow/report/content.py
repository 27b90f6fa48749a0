"""What a page is made of: answers, sections, facts, figures and tables, all as plain text to be escaped."""

from dataclasses import dataclass
from enum import Enum

__all__ = ["Answer", "Fact", "Figure", "Mark", "Note", "Section", "Table", "TERMS", "defined"]


class Mark(Enum):
    """A verdict's shape: it tells the same as its colour, so neither is needed alone."""

    YES = "✓"
    PARTLY = "!"
    NO = "✕"
    UNKNOWN = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One question of the first screen: the verdict in a word or two, its number, and the whole sentence."""

    question: str
    mark: Mark
    verdict: str
    figure: str
    unit: str
    interval: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that the reader must not miss; `grave` ones are shown in red with a mark."""

    text: str
    grave: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A name and what stands for it; `code` is shown in a fixed-width face."""

    name: str
    text: str
    code: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a head; `caption` says what a row is. Columns in `numeric` are aligned to the right."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture, its legend (shade and name), a sentence about it, and the table behind it."""

    name: str
    title: str
    caption: str
    svg: str
    table: Table
    legend: tuple[tuple[str, str], ...] = ()
    wide: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page. `terms` are the words from `TERMS` that it needs."""

    name: str
    title: str
    lead: str
    facts: tuple[Fact, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    code: tuple[Fact, ...] = ()
    notes: tuple[Note, ...] = ()
    terms: tuple[str, ...] = ()


TERMS: dict[str, str] = {
    "accuracy": "the share of held-out records that the model labels correctly.",
    "95 % interval": "the range that holds the true value in 95 of 100 repetitions; a wide one means few records.",
    "ε (epsilon)": "how much more likely any outcome can become because one record (or site) took part, as the "
    "exponent of e: 0 is nothing, 1 is a factor of 2.7, 10 is almost no promise.",
    "δ (delta)": "how often, at most, the promise of ε may fail.",
    "membership attack": "someone who uses the model to guess whether a record was in the training data.",
    "AUC": "how often the attack ranks a training record above another record: 0.5 is guessing, 1 is always.",
    "update": "the change to the model that a site sends after training on its own records.",
    "norm": "the length of an update as a vector: how far it would move the model.",
    "clip": "the most that one record may change a training step; what is longer is shortened.",
    "noise multiplier": "the standard deviation of the added noise, in units of the clip.",
    "accountant": "the calculation that adds up ε over all steps.",
    "record-level": "the promise is for one record, not for everything a person or a site has contributed.",
    "true positive rate": "the share of training records that the attack finds, at a given share of others it accuses.",
    "digest": "a fingerprint of the job: two jobs are the same exactly when their digests are equal.",
}


def defined(sections: tuple[Section, ...], already: tuple[str, ...]) -> dict[str, tuple[tuple[str, str], ...]]:
    """For each section, the terms that appear there first, with their one-line definitions."""
    seen, found = set(already), {}
    for section in sections:
        new = [term for term in section.terms if term not in seen]
        seen.update(new)
        found[section.name] = tuple((term, TERMS[term]) for term in new)
    return found
