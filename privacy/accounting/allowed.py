"""Which prices are known to be right: one table, and everything outside it is refused.

A shuffled or fixed-size batch is not a Poisson sample (Chua et al., "How private are DP-SGD implementations?", ICML
2024, find more than three times the ε), and replacing a record is not removing one. Tools that bill one as the other
understate ε by factors; here the combination must be in the table.
"""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Literal, get_args

from hedgerow.errors import Misconfigured
from hedgerow.privacy.accounting.events import Event, SampledGaussian

__all__ = ["ALLOWED", "Accountant", "Relation", "check_allowed"]

Accountant = Literal["pld", "prv", "rdp"]
Relation = Literal["add_remove", "replace_one"]

# (mechanism, sampler, relation) → the accountants whose price is an upper bound.
ALLOWED = MappingProxyType(
    {
        ("gaussian", "none", "add_remove"): ("pld", "prv", "rdp"),
        ("gaussian", "none", "replace_one"): ("pld", "rdp"),
        ("gaussian", "poisson", "add_remove"): ("pld", "prv", "rdp"),
        ("gaussian", "poisson", "replace_one"): ("pld",),
        ("laplace", "none", "add_remove"): ("pld", "rdp"),
        ("laplace", "none", "replace_one"): ("pld", "rdp"),
        ("skellam", "none", "add_remove"): ("pld", "rdp"),
        ("skellam", "none", "replace_one"): ("pld", "rdp"),
        ("discrete_gaussian", "none", "add_remove"): ("pld", "rdp"),
        ("discrete_gaussian", "none", "replace_one"): ("pld", "rdp"),
    }
)


def check_allowed(events: Iterable[Event], accountant: str, relation: str) -> None:
    """Refuse what no accountant, or not this one, is known to price right.

    Raises: Misconfigured E104 for an unknown accountant or relation, E105 for a combination outside the table.
    """
    for name, value, choices in (
        ("accountant", accountant, get_args(Accountant)),
        ("relation", relation, get_args(Relation)),
    ):
        if value not in choices:
            words = " or ".join(map(repr, choices))
            raise Misconfigured("E104", f"{name} {value!r} is not offered", place=name, hint=f"choose {words}")
    for event in events:
        known = ALLOWED.get((event.mechanism, event.sampler, relation), ())
        if accountant not in known:
            raise Misconfigured(
                "E105",
                f"no known price for mechanism {event.mechanism!r}, sampler {event.sampler!r}, relation {relation!r} "
                f"with accountant {accountant!r}",
                place="events",
                hint=f"accountant {known[0]!r} knows it"
                if known
                else "a shuffled or fixed batch is charged as sampler 'none' with q = 1",
            )
        if isinstance(event, SampledGaussian) and event.sampler == "none" and event.q != 1.0:
            raise Misconfigured(
                "E105",
                f"q={event.q:g} without a sampler that earns it",
                place="events",
                hint="only Poisson sampling amplifies privacy here; without it q is 1",
            )
