"""Which sites a rule remembers: names that travel with its state as an array, and where each present row belongs."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.given import State
from hedgerow.errors import Misconfigured

__all__ = ["FORGOTTEN_AFTER", "Remembered", "as_state", "remembered"]

FORGOTTEN_AFTER = 100  # rounds in a row without a site; or names that come once would fill the memory

_NAMES, _AWAY = "sites", "away"


class Remembered(NamedTuple):
    """The sites of this round and those of the last `FORGOTTEN_AFTER` rounds.

    `names`: `k` of them, in the order of their first round. `kept`: which rows of what the state says about sites are
    those of the first names; the others are of forgotten sites. `place`: `(n,)`, the index in `names` of each row that
    is present. `away`: `(k,)`, for how many rounds each has not been here.
    """

    names: tuple[str, ...]
    kept: npt.NDArray[np.intp]
    place: npt.NDArray[np.intp]
    away: npt.NDArray[np.int64]


def remembered(state: State, sites: Sequence[str], rule: str) -> Remembered:
    """The sites in a state, with those of this round; new ones come last, in the order of their names.

    >>> found = remembered(as_state(["b", "d"], np.array([2, 100])), ["c", "b"], "A rule")
    >>> found.names, found.kept.tolist(), found.place.tolist(), found.away.tolist()
    (('b', 'c'), [0], [1, 0], [0, 0])

    Raises:
        Misconfigured: E105 if nobody said whose rows these are, or if a site is named twice.
    """
    if not sites:
        raise Misconfigured(
            "E105", f"{rule} must know whose row each is", hint="pass sites=, and do not group rows in front of it"
        )
    present = set(sites)
    if len(present) != len(sites):
        raise Misconfigured("E105", f"{rule} remembers one row per site, and a site is named twice")
    known: list[str] = json.loads(state[_NAMES].tobytes()) if _NAMES in state else []
    missed = state[_AWAY].astype(np.int64) + 1 if _AWAY in state else np.ones(len(known), np.int64)
    here = np.array([name in present for name in known], np.bool_)
    kept = np.flatnonzero(here | (missed <= FORGOTTEN_AFTER))
    new = sorted(present - set(known))
    names = (*(known[site] for site in kept), *new)
    index = {name: place for place, name in enumerate(names)}
    place = np.array([index[site] for site in sites])
    away = np.append(missed[kept], np.zeros(len(new), np.int64))
    away[place] = 0
    return Remembered(names, kept, place, away)


def as_state(names: Sequence[str], away: npt.NDArray[np.int64] | None = None) -> dict[str, npt.NDArray[np.generic]]:
    """The names as bytes of JSON, since a state is made of arrays, and for how long each has been `away`."""
    absent = np.zeros(len(names), np.int64) if away is None else away
    return {_NAMES: np.frombuffer(json.dumps(list(names)).encode(), np.uint8).copy(), _AWAY: absent}
