"""The section about the data: how it is split over the sites."""

from collections.abc import Sequence

from hedgerow.report.content import Figure, Section, Table
from hedgerow.report.heatmap import heatmap
from hedgerow.report.numbers import count
from hedgerow.report.summary import RunSummary

__all__ = ["data"]

MOST_HEAT_ROWS, MOST_HEAT_COLUMNS = 40, 12


def data(run: RunSummary) -> Section | None:
    """How the records and their labels are spread over the sites (simulation only)."""
    labelled = [site for site in run.sites if site.labels]
    if not labelled:
        return None
    largest = sorted(labelled, key=lambda site: (-sum(site.labels), site.name))[:MOST_HEAT_ROWS]
    shown = sorted(largest, key=lambda site: site.name)
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
    if len(shown) < len(labelled):
        caption += f" The {len(shown)} largest of {len(labelled)} sites are shown; report.json has them all."
    title = "Training records by site and label"
    picture = heatmap("split", title, f"{len(rows)} sites down, {len(names)} labels across.", rows, names)
    lead = f"How the records are spread over the sites{_split_in_words(str(run.scenario.get('split', '')))}."
    figure = Figure(name="split", title=title, caption=caption, svg=picture, table=table, wide=True)
    return Section(name="data", title="Data", lead=lead, figures=(figure,))


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
