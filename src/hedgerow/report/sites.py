"""The section about the sites: a row for each, or for thousands, how they are spread and the telling ones."""

from collections.abc import Callable, Sequence
from heapq import nsmallest
from itertools import zip_longest

from hedgerow.report.charts import Bar, bars
from hedgerow.report.content import Figure, Note, Section, Table
from hedgerow.report.histogram import binned, histogram, in_the_middle
from hedgerow.report.numbers import count, epsilon, percent, plural
from hedgerow.report.summary import RunSummary, Site

__all__ = ["left_out", "sites"]

MOST_BARS = 20
TELLING = 20  # sites with a row of their own where there are too many
_EVERYTHING = "report.json has them all"
_OUTCOME = ("accepted", "rejected", "why", "ε spent", "last seen")


def sites(run: RunSummary) -> Section | None:
    """What each site contributed, and what became of it."""
    if not run.sites:
        return None
    total = sum(site.train or 0 for site in run.sites)
    lead = f"{plural(len(run.sites), 'site')}" + (f" with {plural(total, 'training record')}." if total else ".")
    lead += " Rejected are bad replies, silent sites, and what the rule left out, which is no proof of an attack."
    notes: tuple[Note, ...] = ()
    if run.many:
        chosen = _telling(run.sites)
        figures = (*_counted_figure(run.sites), *_spent_figure(run.sites))
        table = _telling_table(chosen)
        if len(chosen) < len(run.sites):
            notes = (Note(text=left_out(len(chosen), len(run.sites), "sites")),)
    else:
        figures, table = _budget_figure(run.sites), _table(run.sites, total, any(site.hostile for site in run.sites))
    return Section(name="sites", title="Sites", lead=lead, figures=figures, tables=(table,), notes=notes)


def left_out(shown: int, known: int, noun: str) -> str:
    """A sentence about what is not on the page."""
    return f"{count(shown)} of {count(known)} {noun} are shown here; {_EVERYTHING}."


def _table(shown: Sequence[Site], total: int, hostile: bool) -> Table:
    """A row for each site."""
    first = ("site", *(("attacked",) if hostile else ()))
    start = len(first)
    return Table(
        caption="One row per site.",
        head=(*first, "records", "share", *_OUTCOME),
        rows=tuple(
            (
                site.name,
                *((("yes" if site.hostile else "no"),) if hostile else ()),
                _records(site),
                percent(site.train / total) if site.train is not None and total else "–",
                *_outcome(site),
            )
            for site in shown
        ),
        numeric=frozenset({start, start + 1, start + 2, start + 3, start + 5, start + 6}),
    )


def _telling_table(chosen: Sequence[tuple[str, Site]]) -> Table:
    """A row for each site that was chosen, and what for."""
    return Table(
        caption="The most telling sites.",
        head=("site", "shown because it", "records", *_OUTCOME),
        rows=tuple((site.name, why, _records(site), *_outcome(site)) for why, site in chosen),
        numeric=frozenset({2, 3, 4, 6, 7}),
    )


def _records(site: Site) -> str:
    return count(site.train) if site.train is not None else "–"


def _outcome(site: Site) -> tuple[str, ...]:
    """What became of a site, under `_OUTCOME`."""
    why = "; ".join(f"{r.code} {r.text} ({r.count}×)".strip() for r in site.reasons[:3])
    spent = epsilon(site.spent) if site.spent is not None and site.planned else "–"
    last = f"round {site.last_round}" if site.last_round is not None else "never"
    return str(site.accepted), str(site.rejected), why or "–", spent, last


def _telling(everyone: Sequence[Site]) -> list[tuple[str, Site]]:
    """The sites worth a row of their own, each with what it is shown for; each reason has its turn until 20 are found.

    Attackers that got through stand before those that did not. O(sites).
    """

    def first(fits: Callable[[Site], bool], key: Callable[[Site], float]) -> list[Site]:
        return nsmallest(TELLING, filter(fits, everyone), key=lambda site: (key(site), site.name))

    orders = {
        "attacked": first(lambda site: site.hostile, lambda site: -site.accepted),
        "was rejected most": first(lambda site: site.rejected > 0 and not site.hostile, lambda site: -site.rejected),
        "spent most": first(
            lambda site: site.spent is not None and not site.hostile, lambda site: -(site.spent or 0.0)
        ),
        "has most records": first(lambda site: not site.hostile, lambda site: -(site.train or 0)),
    }
    *telling, largest = [[(why, site) for site in found] for why, found in orders.items()]
    chosen: dict[str, tuple[str, Site]] = {}
    for entry in [*(entry for turn in zip_longest(*telling) for entry in turn), *largest]:
        if entry is not None and len(chosen) < TELLING:
            chosen.setdefault(entry[1].name, entry)
    places = list(orders)
    return sorted(chosen.values(), key=lambda entry: places.index(entry[0]))


def _counted_figure(everyone: Sequence[Site]) -> tuple[Figure, ...]:
    asked = [
        (site.accepted / (site.accepted + site.rejected), site) for site in everyone if site.accepted + site.rejected
    ]
    if not asked:
        return ()
    honest = [share for share, site in asked if not site.hostile]
    hostile = [share for share, site in asked if site.hostile]
    title = "How often a site counted"
    caption = in_the_middle([share for share, _ in asked], percent)
    bins = binned(honest, hostile, bounds=(0.0, 1.0))
    kinds = ("other sites", "sites known to attack")
    across = "share of its rounds in which it counted"
    picture, table = histogram("counted", title, caption, bins, across=across, text=percent, kinds=kinds)
    legend = (("box", kinds[0]), ("out", kinds[1])) if hostile else ()
    return (Figure(name="counted", title=title, caption=caption, svg=picture, table=table, legend=legend),)


def _spent_figure(everyone: Sequence[Site]) -> tuple[Figure, ...]:
    known = [site.spent for site in everyone if site.spent is not None and site.planned]
    if not known:
        return ()
    title = "ε spent by site"
    limits = sorted({site.limit for site in everyone if site.limit is not None})
    caption = in_the_middle(known, epsilon)
    if limits:
        ends = f"{limits[0]:g}" if len(limits) == 1 else f"{limits[0]:g} to {limits[-1]:g}, by site"
        caption += f" The limit is {ends}."
    picture, table = histogram("budget", title, caption, binned(known), across="ε spent", text=lambda v: f"{v:g}")
    return (Figure(name="budget", title=title, caption=caption, svg=picture, table=table),)


def _budget_figure(all_sites: Sequence[Site]) -> tuple[Figure, ...]:
    known = [site for site in all_sites if site.spent is not None and site.limit and site.planned]
    if not known:
        return ()
    shown = sorted(known, key=lambda site: (-(site.spent or 0.0), site.name))[:MOST_BARS]
    items = [
        Bar(name=s.name, value=s.spent or 0.0, limit=s.limit, text=f"{epsilon(s.spent or 0.0)} of {s.limit:g}")
        for s in shown
    ]
    title = "ε spent of its limit"
    top = shown[0]
    description = f"Site {top.name} spent the most: {epsilon(top.spent or 0.0)} of {top.limit:g}."
    rows = tuple(
        (s.name, epsilon(s.spent or 0.0), f"{s.limit:g}", percent((s.spent or 0.0) / (s.limit or 1.0))) for s in shown
    )
    table = Table(
        caption="One row per site.", head=("site", "ε spent", "limit", "share"), rows=rows, numeric=frozenset({1, 2, 3})
    )
    caption = "The upright mark is the limit."
    if len(shown) < len(known):
        caption += f" The {len(shown)} that spent the most of {len(known)} sites; {_EVERYTHING}."
    picture = bars("budget", title, description, items)
    return (Figure(name="budget", title=title, caption=caption, svg=picture, table=table),)
