"""Whether one more release still fits: into the job's own budget, and into the operator's limit over all jobs."""

from hedgerow.errors import Refused
from hedgerow.privacy.account import Account, Counted
from hedgerow.privacy.accounting import Accountant, Relation
from hedgerow.privacy.lifetime import Limit

__all__ = ["refusal"]


def refusal(
    account: Account,
    part: Counted,
    *,
    dataset: str,
    limit: float,
    lifetime: Limit | None,
    accountant: Accountant,
    relation: Relation = "add_remove",
    place: str,
) -> Refused | None:
    """Why `part` may not be charged to the account, or nothing if it may.

    `limit` is the job's, held at the smallest δ of all charges; `lifetime` the operator's, priced by `"pld"` for a
    record (a person, a site) that is added or removed.
    """
    strictest = account.strictest(part)
    told = _over(account, part, limit, strictest, accountant, relation)
    if told is not None:
        spent, cost = told
        return Refused(
            "E201",
            f"data set {dataset!r} has spent epsilon {spent:.4g} per {part.unit} and would reach {cost:.4g}, "
            f"its limit is {limit:g} at delta {strictest:g}",
            place=place,
            hint="train fewer rounds, add more noise, or let the site raise its limit",
        )
    if lifetime is None:
        return None
    delta = strictest if lifetime.delta is None else lifetime.delta
    told = _over(account, part, lifetime.epsilon, delta, "pld", "add_remove")
    if told is None:
        return None
    spent, cost = told
    return Refused(
        "E201",
        f"data set {dataset!r} has spent epsilon {spent:.4g} per {part.unit} and would reach {cost:.4g}, "
        f"its operator's limit for all jobs is {lifetime.epsilon:g} at delta {delta:g}",
        place=place,
        hint="train fewer rounds, add more noise, or let the operator raise it: hedgerow budget set",
    )


def _over(
    account: Account, part: Counted, limit: float, delta: float, accountant: Accountant, relation: Relation
) -> tuple[float, float] | None:
    """What is spent and what would be, if that is more than the limit; the cheap accountant is asked first."""
    first: Accountant = "rdp" if relation == "add_remove" else accountant  # Rényi's does not price every replacement
    cost = account.price(delta, first, part, relation)
    if accountant != first and not cost <= limit:  # the tighter bound costs more, so it comes second
        cost = account.price(delta, accountant, part, relation)
    return None if cost <= limit else (account.price(delta, accountant, None, relation), cost)
