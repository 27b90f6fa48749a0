"""Which sites a rule remembers: names that travel with its state as an array, and where each present row belongs."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.given import State
from hedgerow.errors import Misconfigured

__all__ = ["Remembered", "as_state", "remembered"]

_NAMES = "sites"


class Remembered(NamedTuple):
    """`names`: every site ever seen, `k` of them, in the order of their first round. `old`: how many were known.

    `place`: `(n,)`, the index in `names` of each row that is present.
    """

    names: tuple[str, ...]
    old: int
    place: npt.NDArray[np.intp]


def remembered(state: State, sites: Sequence[str], rule: str) -> Remembered:
    """The sites in a state, with those of this round; new ones come last, in the order of their names.

    >>> remembered(as_state(["b"]), ["c", "b"], "A rule")
    Remembered(names=('b', 'c'), old=1, place=array([1, 0]))

    Raises:
        Misconfigured: E105 if nobody said whose rows these are, or if a site is named twice.
    """
    if not sites:
        raise Misconfigured(
            "E105", f"{rule} must know whose row each is", hint="pass sites=, and do not group rows in front of it"
        )
    if len(set(sites)) != len(sites):
        raise Misconfigured("E105", f"{rule} remembers one row per site, and a site is named twice")
    known: tuple[str, ...] = tuple(json.loads(state[_NAMES].tobytes())) if _NAMES in state else ()
    names = known + tuple(sorted(set(sites) - set(known)))
    index = {name: place for place, name in enumerate(names)}
    return Remembered(names, len(known), np.array([index[site] for site in sites]))


def as_state(names: Sequence[str]) -> dict[str, npt.NDArray[np.generic]]:
    """The names as bytes of JSON, since a state is made of arrays."""
    return {_NAMES: np.frombuffer(json.dumps(list(names)).encode(), np.uint8).copy()}
