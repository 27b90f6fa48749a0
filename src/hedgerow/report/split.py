"""The section about the data: how it is split over the sites."""

from collections.abc import Sequence

from hedgerow.report.content import Figure, Section, Table
from hedgerow.report.heatmap import heatmap
from hedgerow.report.histogram import binned, histogram, in_the_middle
from hedgerow.report.numbers import count, percent
from hedgerow.report.summary import RunSummary, Site

__all__ = ["data"]

MOST_HEAT_ROWS, MOST_HEAT_COLUMNS = 40, 12
FEW_HEAT_ROWS = 20  # sites drawn where there are too many: from the largest to the smallest


def data(run: RunSummary) -> Section | None:
    """How the records and their labels are spread over the sites (simulation only)."""
    labelled = [site for site in run.sites if site.labels]
    figures = _spread_figures(run.sites) if run.many else ()
    lead = f"How the records are spread over the sites{_split_in_words(str(run.scenario.get('split', '')))}."
    if labelled:
        figures = (*figures, _heat_figure(run, labelled))
    return Section(name="data", title="Data", lead=lead, figures=figures) if figures else None


def _heat_figure(run: RunSummary, labelled: Sequence[Site]) -> Figure:
    largest = sorted(labelled, key=lambda site: (-sum(site.labels), site.name))[:MOST_HEAT_ROWS]
    shown = sorted(largest, key=lambda site: site.name)
    if run.many:
        shown = _sampled(labelled)
    width = max(len(site.labels) for site in labelled)
    names = [run.label_names[k] if k < len(run.label_names) else str(k) for k in range(width)]
    rows = [(site.name, _folded(site.labels, width)) for site in shown]
    if width > MOST_HEAT_COLUMNS:
        names = [*names[: MOST_HEAT_COLUMNS - 1], "others"]
    table = Table(
        caption="Training records per site and label.",
        head=("site", *names, "all"),
        rows=tuple((name, *(count(value) for value in values), count(sum(values))) for name, values in rows),
        numeric=frozenset(range(1, len(names) + 2)),
    )
    caption = "The stronger the colour, the more training records of that label."
    if run.many:
        caption += f" {len(shown)} of {count(len(labelled))} sites, in even steps from the largest to the smallest."
    elif len(shown) < len(labelled):
        caption += f" The {len(shown)} largest of {len(labelled)} sites are shown; report.json has them all."
    title = "Training records by site and label"
    picture = heatmap("split", title, f"{len(rows)} sites down, {len(names)} labels across.", rows, names)
    return Figure(name="split", title=title, caption=caption, svg=picture, table=table, wide=True)


def _sampled(labelled: Sequence[Site]) -> list[Site]:
    by_size = sorted(labelled, key=lambda site: (-sum(site.labels), site.name))
    most = min(FEW_HEAT_ROWS, len(by_size))
    return [by_size[round(k * (len(by_size) - 1) / max(most - 1, 1))] for k in range(most)]


def _spread_figures(everyone: Sequence[Site]) -> tuple[Figure, ...]:
    """How many records the sites have, and how much of a site its commonest label makes up."""
    records = [float(site.train) for site in everyone if site.train is not None]
    shares = [max(site.labels) / sum(site.labels) for site in everyone if sum(site.labels) > 0]
    found = []
    for name, title, across, values, text, bounds in (
        ("records", "Training records by site", "training records", records, _whole, None),
        ("commonest", "How one-sided the sites are", "share of its commonest label", shares, percent, (0.0, 1.0)),
    ):
        if values:
            caption = in_the_middle(values, text)
            bins = binned(values, bounds=bounds)
            picture, table = histogram(name, title, caption, bins, across=across, text=text)
            found.append(Figure(name=name, title=title, caption=caption, svg=picture, table=table))
    return tuple(found)


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _split_in_words(split: str) -> str:
    kind, _, amount = split.partition(":")
    words = {
        "iid": "at random",
        "dirichlet": f"by a Dirichlet draw per label, concentration {amount}: the smaller, the more uneven",
        "labels": f"{amount} labels per site",
        "quantity": f"by a Dirichlet draw of sizes, concentration {amount}: the smaller, the more uneven",
        "column": "by the table's own site column",
    }
    return f" ({words.get(kind, split)})" if split else ""


def _folded(values: Sequence[int], width: int) -> tuple[int, ...]:
    padded = [*values, *[0] * (width - len(values))]
    if width <= MOST_HEAT_COLUMNS:
        return tuple(padded)
    return (*padded[: MOST_HEAT_COLUMNS - 1], sum(padded[MOST_HEAT_COLUMNS - 1 :]))
