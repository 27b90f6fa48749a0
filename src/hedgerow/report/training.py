"""The sections about the training itself: runs side by side, rounds, cost."""

from collections.abc import Sequence

from hedgerow.report.beside import Beside, comparable
from hedgerow.report.charts import Bar, Series, bars, columns, lines, thinned
from hedgerow.report.content import Fact, Figure, Section, Table
from hedgerow.report.numbers import capital, count, duration, epsilon, measured, percent, plural, significant, size
from hedgerow.report.sites import left_out
from hedgerow.report.summary import Evaluation, Round, RunSummary

__all__ = ["cost", "rounds", "side_by_side"]

MOST_ROUNDS = 200


def side_by_side(run: RunSummary, others: Sequence[Beside]) -> Section | None:
    """What each run reached, and what was different about it."""
    if not others:
        return None
    rows = [("this run", "", *_reached(run))]
    rows += [
        (other.name, "; ".join(other.differs) or "nothing in the settings", *_reached(other.run)) for other in others
    ]
    table = Table(
        caption="One row per run.",
        head=("run", "what was different", "result", "highest ε", "attack AUC"),
        rows=tuple(rows),
        numeric=frozenset({2, 3, 4}),
    )
    lead = "The same task under other settings. A difference is only worth something where the intervals are apart."
    return Section(name="beside", title="Side by side", lead=lead, tables=(table,))


def rounds(run: RunSummary, others: Sequence[Beside]) -> Section:
    """The model after each round, how large the updates were, and how many were let in."""
    figures = [_progress_figure(run, others)] if run.final else []
    figures += [_backdoor_figure(run)] if run.final and run.final.backdoor is not None else []
    if any(entry.norm_median is not None for entry in run.rounds):
        figures.append(_norm_figure(run))
    if run.rounds:
        figures.append(_admission_figure(run))
    void = sum(bool(entry.void) for entry in run.rounds)
    lead = f"{plural(run.released, 'round')} released a model" + (f", {void} released nothing." if void else ".")
    if not run.rounds:
        lead = "No round was closed in this run's log."
    terms = ("update", "norm") if run.rounds else ()
    return Section(name="rounds", title="Rounds", lead=lead, figures=tuple(figures), terms=terms)


def cost(run: RunSummary) -> Section | None:
    """Where the time went, and what crossed the network."""
    stages: dict[str, float] = {}
    for entry in run.rounds:
        for stage, seconds in entry.seconds.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    down, up = sum(e.bytes_down for e in run.rounds), sum(e.bytes_up for e in run.rounds)
    if not stages and not down and not up and run.seconds is None:
        return None
    facts = [Fact(name="whole run", text=duration(run.seconds))] if run.seconds is not None else []
    if down or up:
        facts += [Fact(name="sent to the sites", text=size(down)), Fact(name="received from the sites", text=size(up))]
        facts.append(Fact(name="per round", text=f"{size((down + up) / len(run.rounds))} both ways together"))
    if run.parameters:
        facts.append(Fact(name="model", text=f"{count(run.parameters)} parameters"))
    figures: tuple[Figure, ...] = ()
    if stages:
        ordered = sorted(stages.items(), key=lambda item: -item[1])[:12]
        items = [Bar(name=stage, value=seconds, text=duration(seconds)) for stage, seconds in ordered]
        total = sum(stages.values()) or 1.0
        rows = tuple((stage, duration(seconds), percent(seconds / total)) for stage, seconds in ordered)
        table = Table(
            caption="One row per stage.", head=("stage", "time", "share"), rows=rows, numeric=frozenset({1, 2})
        )
        title = "Time per stage"
        picture = bars("stages", title, f"{ordered[0][0]} took longest: {duration(ordered[0][1])}.", items)
        caption = "Seconds in all rounds together."
        figures = (Figure(name="stages", title=title, caption=caption, svg=picture, table=table),)
    return Section(name="cost", title="Cost", lead="What this run took.", facts=tuple(facts), figures=figures)


def _progress_figure(run: RunSummary, others: Sequence[Beside]) -> Figure:
    metric = run.evaluations[0].metric
    shown = [("this run", run), *((other.name, other.run) for other in others if comparable(run, other.run))][:5]
    series = [Series(name=name, points=_points(each.evaluations), band=_band(each.evaluations)) for name, each in shown]
    final = run.evaluations[-1]
    title = f"{capital(metric)} after each round"
    description = f"This run ends at {measured(final.value, final.low, final.high)} after round {final.round}."
    for other in others:
        theirs = comparable(run, other.run)
        description += f" {capital(other.name)}: {measured(theirs.value)}." if theirs else ""
    values = [value for entry in series for _, value in entry.points]
    bounds = (0.0, 1.0) if final.low is not None and 0 <= min(values) and max(values) <= 1 else None
    picture = lines("progress", title, description, series, up=metric, bounds=bounds)
    columns_of = {name: {e.round: e for e in each.evaluations} for name, each in shown}
    numbers = thinned(sorted({number for known in columns_of.values() for number in known}))
    rows = tuple((str(n), *(_cell(columns_of[name].get(n)) for name, _ in shown)) for n in numbers)
    table = Table(
        caption=f"{capital(metric)} with its 95 % interval.",
        head=("round", *(name for name, _ in shown)),
        rows=rows,
        numeric=frozenset(range(len(shown) + 1)),
    )
    legend = tuple((f"s{k}", name) for k, (name, _) in enumerate(shown)) if len(shown) > 1 else ()
    banded = any(entry.band for entry in series)
    caption = (
        description
        + (" Round 0 is before training." if run.evaluations[0].round == 0 else "")
        + (" The bands are 95 % intervals." if banded else "")
    )
    return Figure(name="progress", title=title, caption=caption, svg=picture, table=table, legend=legend, wide=True)


def _backdoor_figure(run: RunSummary) -> Figure:
    metric = run.evaluations[0].metric
    known = [(entry, entry.backdoor) for entry in run.evaluations if entry.backdoor is not None]
    title = "How often the backdoor opens"
    caption = (
        f"The share of held-out records with the attacker's trigger on them that the model takes for the attacker's "
        f"target: {measured(known[-1][1])} at the end. An honest model takes some, too."
    )
    points = tuple((float(entry.round), share) for entry, share in known)
    picture = lines(
        "backdoor", title, caption, [Series(name="backdoor", points=points)], up="backdoor success", bounds=(0.0, 1.0)
    )
    table = Table(
        caption="One row per evaluated round.",
        head=("round", "backdoor success", metric),
        rows=tuple((str(entry.round), measured(share), measured(entry.value)) for entry, share in thinned(known)),
        numeric=frozenset(range(3)),
    )
    return Figure(name="backdoor", title=title, caption=caption, svg=picture, table=table)


def _norm_figure(run: RunSummary) -> Figure:
    known = [e for e in run.rounds if e.norm_median is not None]
    ends = [(e.norm_inner_low, e.norm_inner_high) if run.many else (e.norm_low, e.norm_high) for e in known]
    band = tuple((float(e.number), low or 0.0, high or 0.0) for e, (low, high) in zip(known, ends, strict=True))
    series = [
        Series(name="median update", points=tuple((float(e.number), e.norm_median or 0.0) for e in known), band=band)
    ]
    hostile = tuple((float(e.number), e.norm_hostile) for e in known if e.norm_hostile is not None)
    if hostile:
        series.append(Series(name="median hostile update", points=hostile))
    title = "How large the updates were"
    description = f"L2 norm: median {significant(known[-1].norm_median or 0.0)} in the last round."
    picture = lines("norms", title, description, series, up="L2 norm")
    table = Table(
        caption="L2 norms of the updates that arrived, and of the step that the model took.",
        head=("round", "lowest", "median", "highest", "hostile median", "model step"),
        rows=tuple(
            (
                str(e.number),
                *(_figure(v) for v in (e.norm_low, e.norm_median, e.norm_high, e.norm_hostile, e.step_norm)),
            )
            for e in thinned(known)
        ),
        numeric=frozenset(range(6)),
    )
    legend = tuple((f"s{k}", entry.name) for k, entry in enumerate(series))
    caption = "The band reaches from the shortest to the longest update of a round."
    if run.many:
        caption = "The band holds nine of ten updates of a round; the shortest and the longest are in the table."
    return Figure(name="norms", title=title, caption=caption, svg=picture, table=table, legend=legend)


def _admission_figure(run: RunSummary) -> Figure:
    shown = run.rounds[-MOST_ROUNDS:]
    heights = [(entry.accepted, entry.rejected, int(bool(entry.void))) for entry in shown]
    title = "Updates accepted and rejected"
    accepted, rejected = sum(e.accepted for e in run.rounds), sum(e.rejected for e in run.rounds)
    description = f"{count(accepted)} accepted and {count(rejected)} rejected in {plural(len(run.rounds), 'round')}."
    picture = columns("admission", title, description, heights, up="sites", first=shown[0].number)
    rows = tuple((str(e.number), str(e.accepted), str(e.rejected), _void(e)) for e in shown)
    table = Table(
        caption="One row per round.",
        head=("round", "accepted", "rejected", "void because"),
        rows=rows,
        numeric=frozenset({0, 1, 2}),
    )
    caption = f"{description} Rejected: bad replies, silent sites, and what the rule left out."
    caption += " A ✕ marks a round that released nothing." if any(e.void for e in shown) else ""
    caption += f" {left_out(len(shown), len(run.rounds), 'rounds')}" if len(shown) < len(run.rounds) else ""
    legend = (("box", "accepted"), ("out", "rejected"))
    return Figure(name="admission", title=title, caption=caption, svg=picture, table=table, legend=legend)


def _reached(run: RunSummary) -> tuple[str, str, str]:
    final, site, leak = run.final, run.most_spent, run.overall_leak
    return (
        f"{measured(final.value, final.low, final.high)} {final.metric}" if final else "–",
        epsilon(site.spent) if site and site.spent is not None else "none" if not run.private else "–",
        measured(leak.auc.value, leak.auc.low, leak.auc.high) if leak else "–",
    )


def _points(evaluations: Sequence[Evaluation]) -> tuple[tuple[float, float], ...]:
    return tuple((float(entry.round), entry.value) for entry in evaluations)


def _band(evaluations: Sequence[Evaluation]) -> tuple[tuple[float, float, float], ...]:
    return tuple((float(e.round), e.low, e.high) for e in evaluations if e.low is not None and e.high is not None)


def _cell(entry: Evaluation | None) -> str:
    return measured(entry.value, entry.low, entry.high) if entry else "–"


def _figure(value: float | None) -> str:
    return "–" if value is None else significant(value)


def _void(entry: Round) -> str:
    return f"{entry.void_code} {entry.void}".strip() if entry.void else "–"
