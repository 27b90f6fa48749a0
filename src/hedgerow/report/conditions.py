"""The section about what the sites met on the simulated clock: who was there, how fast, and how long it all took."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from math import isfinite
from statistics import median

from hedgerow.report.beside import Beside, comparable
from hedgerow.report.charts import Series, columns, lines, thinned
from hedgerow.report.content import Fact, Figure, Section, Table
from hedgerow.report.numbers import capital, count, duration, measured, percent, plural, significant, size, spoken
from hedgerow.report.summary import Round, RunSummary
from hedgerow.scenario import Scenario
from hedgerow.settings import Scalar

__all__ = ["conditions", "simulated_time"]

_MOST_ROUNDS = 200
_UNITS = (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0), ("seconds", 1.0))
_IDEAL = {field.name: field.default for field in fields(Scenario)}

Words = Callable[[str, list[float]], str]  # from a form's kind and its numbers


def _drawn(what: Callable[[float], str]) -> Words:
    """Something that every site has alike, or that a log-normal draw gives to each."""
    return lambda kind, numbers: (
        f"{what(numbers[0])} everywhere"
        if kind == "constant"
        else f"{what(numbers[0])} in the middle, log-normal with σ = {numbers[1]:g}"
    )


# The name of a condition, and its words for each form but the ideal one; an unknown form is told as it is written.
_CONDITIONS: Mapping[str, tuple[str, Mapping[str, Words]]] = {
    "availability": (
        "who is there",
        {
            "random": lambda _, n: f"each site {percent(n[0])} of the time, in sessions of its own",
            "diurnal": lambda _, n: (
                f"each site from {percent(n[0])} of the time at noon to {percent(n[1])} at midnight"
            ),
        },
    ),
    "join": ("joining", {"uniform": lambda _, n: f"each site at a random moment within {spoken(n[0])}"}),
    "latency": ("a message travels", dict.fromkeys(("constant", "lognormal"), _drawn(duration))),
    "bandwidth": (
        "lines carry",
        dict.fromkeys(("constant", "lognormal"), _drawn(lambda rate: f"{size(rate)} a second")),
    ),
    "speed": (
        "machines train",
        dict.fromkeys(("constant", "lognormal"), _drawn(lambda rate: f"{significant(rate)} records a second")),
    ),
    "dropout": ("dropping out", {"": lambda _, n: f"{percent(n[0])} of the asked sites in each round"}),
    "shift": (
        "feature shift",
        {"affine": lambda _, n: f"each site's features scaled and offset by a device of its own, strength {n[0]:g}"},
    ),
    "drift": (
        "drift",
        {"labels": lambda _, n: f"in each round a site has {percent(n[0])} of its records, a window over its labels"},
    ),
}


def simulated_time(run: RunSummary) -> str:
    """How long the run took on the simulated clock and on this machine; empty where no time was simulated."""
    if run.simulated_seconds is None:
        return ""
    took = f" in {duration(run.seconds)}" if run.seconds is not None else ""
    return f"{spoken(run.simulated_seconds)} of simulated time{took}"


def conditions(run: RunSummary, others: Sequence[Beside]) -> Section | None:
    """What was simulated besides the training itself; None where everybody always was there and nothing took time."""
    facts = tuple(
        Fact(name=name, text=_in_words(words, run.scenario[key]))
        for key, (name, words) in _CONDITIONS.items()
        if key in run.scenario and run.scenario[key] != _IDEAL[key]
    )
    time = simulated_time(run)
    if not facts and not time:
        return None
    lead = f"{capital(time)}." if time else "No time was simulated: each round took none, and everybody was there."
    figures: list[Figure] = []
    if time:
        asked = [entry.accepted + entry.rejected for entry in run.rounds]
        answered = [entry.answered for entry in run.rounds]
        lead += f" In the middle round {median(answered):,.0f} of {median(asked):,.0f} asked sites answered in time."
        figures += _clock_figure(run, others)
        figures.append(_answer_figure(run.rounds[-_MOST_ROUNDS:], len(run.rounds)))
    return Section(name="conditions", title="Simulated conditions", lead=lead, facts=facts, figures=tuple(figures))


def _in_words(words: Mapping[str, Words], value: Scalar) -> str:
    kind, _, rest = value.partition(":") if isinstance(value, str) else ("", "", str(value))
    try:
        numbers = [float(part) for part in rest.split(",")]
        return words[kind](kind, numbers) if all(map(isfinite, numbers)) else str(value)
    except (KeyError, IndexError, ValueError):
        return str(value)


def _clock_figure(run: RunSummary, others: Sequence[Beside]) -> list[Figure]:
    """The main metric over simulated time, of the runs that have one; none where no timed round was evaluated."""
    known = [("this run", run), *((other.name, other.run) for other in others if comparable(run, other.run))][:5]
    shown = [(name, each) for name, each in known if each.simulated_seconds is not None]
    unit, length = _unit(max(each.simulated_seconds or 0.0 for _, each in shown))
    series, rows = [], []
    for name, each in shown:
        at = {entry.number: entry.clock for entry in each.rounds if entry.clock is not None} | {0: 0.0}
        timed = [(at[e.round] / length, e) for e in each.evaluations if e.round in at]
        band = tuple((x, e.low, e.high) for x, e in timed if e.low is not None and e.high is not None)
        series.append(Series(name=name, points=tuple((x, e.value) for x, e in timed), band=band))
        rows += [(name, str(e.round), significant(x), measured(e.value, e.low, e.high)) for x, e in thinned(timed)]
    series = [entry for entry in series if entry.points]
    if not series:
        return []
    metric = run.evaluations[0].metric
    title = f"{capital(metric)} over simulated time"
    caption = " ".join(
        f"{capital(s.name)}: {measured(s.points[-1][1])} after {spoken(s.points[-1][0] * length)}." for s in series
    )
    shares = any(s.band for s in series) and all(0 <= y <= 1 for s in series for _, y in s.points)
    bounds = (0.0, 1.0) if shares else None
    table = Table(
        caption="One row per evaluation.",
        head=("run", "round", unit, metric),
        rows=tuple(rows),
        numeric=frozenset({1, 2, 3}),
    )
    picture = lines("clock", title, caption, series, up=metric, across=f"simulated {unit}", bounds=bounds)
    legend = tuple((f"s{k}", entry.name) for k, entry in enumerate(series)) if len(series) > 1 else ()
    return [Figure(name="clock", title=title, caption=caption, svg=picture, table=table, legend=legend)]


def _answer_figure(shown: Sequence[Round], known: int) -> Figure:
    missing = [entry.accepted + entry.rejected - entry.answered for entry in shown]
    heights = [(entry.answered, out, int(bool(entry.void))) for entry, out in zip(shown, missing, strict=True)]
    title = "Sites that answered in time"
    caption = f"{count(sum(e.answered for e in shown))} answers came in time, {count(sum(missing))} did not."
    caption += f" The last {len(shown)} of {plural(known, 'round')} are shown." if len(shown) < known else ""
    rows = tuple(
        (str(e.number), count(e.answered), count(out), spoken(e.clock) if e.clock is not None else "–")
        for e, out in zip(shown, missing, strict=True)
    )
    table = Table(
        caption="One row per round.",
        head=("round", "answered", "silent", "simulated time at its end"),
        rows=rows,
        numeric=frozenset({0, 1, 2, 3}),
    )
    return Figure(
        name="answered",
        title=title,
        caption=caption,
        svg=columns("answered", title, caption, heights, up="asked sites", first=shown[0].number),
        table=table,
        legend=(("box", "in time"), ("out", "silent")),
    )


def _unit(seconds: float) -> tuple[str, float]:
    """The largest unit of which there are a few."""
    return next(((name, length) for name, length in _UNITS if seconds >= 2 * length), _UNITS[-1])
