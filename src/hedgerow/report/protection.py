"""The sections about privacy: what is promised, by whom, and what an attack found."""

from collections.abc import Callable, Sequence

from hedgerow.report.answers import NOT_A_RELEASE
from hedgerow.report.beside import Beside
from hedgerow.report.charts import Series, lines, thinned
from hedgerow.report.content import Fact, Figure, Note, Section, Table
from hedgerow.report.histogram import binned, histogram, in_the_middle
from hedgerow.report.method import clipping_in_words
from hedgerow.report.numbers import capital, count, delta, epsilon, measured, plural, significant
from hedgerow.report.roc import Ceiling, Curve, roc_chart
from hedgerow.report.sites import left_out
from hedgerow.report.summary import MANY, Budget, Leak, RunSummary

__all__ = ["leakage", "privacy"]

TELLING = 20  # results on single sites that have a row where there are too many

_TRUST = (
    "Each site trusts its own machine and the software on it. Noise is added there, before an update leaves, so the "
    "promise does not rest on the server or on other sites."
)
_SITE_TRUST = (
    "The coordinator, which adds the noise: it and whoever reads its run folder, this page included, see every update "
    "without it. The promise holds against those who see the models alone."
)


def privacy(run: RunSummary) -> Section:
    """The promise with everything that it depends on, and what it does not cover."""
    plans = [site.planned for site in run.sites if site.planned]
    top = run.most_spent or run.most_planned
    if not plans or top is None or top.planned is None:
        off = "was off in this run" if "privacy.unit" in run.job else "is not recorded in this run"
        lead = (
            f"Differential privacy {off}."
            if not run.private
            else (
                "Differential privacy was asked for, but no budget is recorded with its unit, accountant and relation."
            )
        )
        unprotected = "Updates and the model may give away records of the training data."
        return Section(name="privacy", title="Privacy", lead=lead, notes=(Note(text=unprotected, grave=True),))
    plan = top.planned
    limit = plan.limit
    whole = plan.unit == "site"
    priced = "not recorded" if top.spent is None else epsilon(top.spent)
    facts = (
        Fact(name="protected unit", text="one site with all its records" if whole else "one record of one site"),
        Fact(name="relation", text=f"{plan.relation}: outcomes are compared with and without it"),
        Fact(
            name="ε spent",
            text=f"{priced} of {limit:g} at δ = {delta(top.delta or plan.delta)} "
            + ("(the same for every site)" if whole else f"(site {top.name}; each has its own)"),
        ),
        Fact(
            name="ε planned",
            text=f"{epsilon(plan.epsilon)} for the whole job" + ("" if whole else f" (site {top.name})"),
        ),
        Fact(name="accountant", text=_each(plans, lambda p: p.accountant)),
        Fact(name="sampler", text=_sampler(plans, whole=whole)),
        Fact(name="rounds" if whole else "steps", text=_range(plans, "steps")),
        Fact(name="clip", text=_clip(run, plans, whole=whole)),
        *(Fact(name="clipped by", text=clipping_in_words(each)) for each in run.trained if each.private),
        Fact(name="noise multiplier", text=_range(plans, "noise_multiplier")),
        Fact(name="random source", text=_each(plans, lambda p: p.randomness)),
        Fact(name="who is trusted", text=_SITE_TRUST if whole else _TRUST),
    )
    notes = tuple(Note(text=text) for text in _not_covered(run, plan))
    if run.simulated_noise:
        notes = (
            Note(
                text=f"{capital(NOT_A_RELEASE)}: whoever knows the seed can take the noise away. "
                "The numbers are what the same job gives with the operating system's generator.",
                grave=True,
            ),
            *notes,
        )
    terms = ("record-level", "accountant", "clip", "noise multiplier") if plan.unit == "record" else ("accountant",)
    lead = (
        "Whether a site took part at all is protected, with everything it holds, for the whole job."
        if whole
        else f"{plural(len(plans), 'site')} trained with differential privacy. "
        "The promise is per site, for the whole job."
    )
    return Section(
        name="privacy",
        title="Privacy",
        lead=lead,
        facts=facts,
        figures=_spending_figure(run, limit),
        notes=notes,
        terms=terms,
    )


def leakage(run: RunSummary, others: Sequence[Beside]) -> Section | None:
    """What the attacks found, for all sites together and for each of them."""
    telling = [each for each in others if not each.twin or each.run.private != run.private]
    named = [("this run", run), *((other.name, other.run) for other in telling)]
    curves = [Curve(name=name, leak=leak) for name, each in named if (leak := each.overall_leak)][:5]
    if not curves:
        return None
    gates = tuple(Note(text=f"Release gate {gate.text}", grave=not gate.passed) for gate in run.gates)
    shown = _telling(run.leaks)
    tables = [_leak_table(shown)] if run.leaks else []
    lead = (
        "Someone with the final model tries to tell training records (members) from others. The TPR at 1 % is the true "
        "positive rate when 1 % of the others are wrongly accused. All of it is a floor: stronger attacks may find "
        "more. Each interval stands alone: among many sites one exceeds its interval by chance."
    )
    if len(shown) < len(run.leaks):
        gates = (*gates, Note(text=left_out(len(shown), len(run.leaks), "results")))
    rough = sorted({at.note for leak in run.leaks for at in leak.tpr if at.note})
    gates = (*gates, *(Note(text=f"Marked rough: {note[:1].lower()}{note[1:]}") for note in rough))
    drawn = [curve for curve in curves if curve.leak.roc]
    figures = ((_roc_figure(run, drawn),) if drawn else ()) + _spread_figure(run.leaks)
    terms = ("membership attack", "AUC", "true positive rate")
    return Section(
        name="leakage", title="Leakage", lead=lead, figures=figures, tables=tuple(tables), notes=gates, terms=terms
    )


def _spending_figure(run: RunSummary, limit: float) -> tuple[Figure, ...]:
    over = run.budget_over_rounds
    if not over:
        return ()
    band = tuple((float(e.round), e.lowest, e.highest) for e in over)
    series = [Series(name="highest", points=tuple((float(e.round), e.highest) for e in over), band=band)]
    title = "ε spent over the rounds"
    description = f"The highest of all sites is {epsilon(over[-1].highest)} after round {over[-1].round}."
    picture = lines("spending", title, description, series, up="ε", level=(limit, f"limit {limit:g}"))
    rows = tuple((str(e.round), epsilon(e.lowest), epsilon(e.highest)) for e in thinned(over))
    table = Table(
        caption="What the sites' ledgers say.",
        head=("round", "lowest", "highest"),
        rows=rows,
        numeric=frozenset({0, 1, 2}),
    )
    caption = f"{description} The band reaches down to the lowest."
    return (Figure(name="spending", title=title, caption=caption, svg=picture, table=table),)


def _roc_figure(run: RunSummary, curves: Sequence[Curve]) -> Figure:
    top = run.most_spent
    ceiling = None
    if top and top.spent is not None and top.delta is not None and curves[0].name == "this run":
        ceiling = Ceiling(epsilon=top.spent, delta=top.delta)
    title = "Members found against non-members accused"
    description = " ".join(
        f"{capital(curve.name)}: AUC {measured(curve.leak.auc.value, curve.leak.auc.low, curve.leak.auc.high)}."
        for curve in curves
    )
    picture = roc_chart("roc", title, description, curves, ceiling)
    rates = sorted({at.fpr for curve in curves for at in curve.leak.tpr})
    table = Table(
        caption="All sites together.",
        head=("run", "AUC", *(f"TPR at {100 * rate:g} %" for rate in rates), "members", "others"),
        rows=tuple(
            (
                c.name,
                _auc(c.leak),
                *(_rate(c.leak, rate) for rate in rates),
                count(c.leak.members),
                count(c.leak.nonmembers),
            )
            for c in curves
        ),
        numeric=frozenset(range(1, len(rates) + 4)),
    )
    legend = [(f"s{k}", curve.name) for k, curve in enumerate(curves)] + [("level", "guessing")]
    legend += [("ceiling", f"most that ε = {epsilon(ceiling.epsilon)} allows")] if ceiling else []
    caption = (
        "Both axes are logarithmic; a curve above the dashed diagonal finds members. Bands: 95 % for a fixed "
        "threshold. Upright bars: the wider interval that counts the choice of the threshold too."
    )
    return Figure(name="roc", title=title, caption=caption, svg=picture, table=table, legend=tuple(legend), wide=True)


def _telling(leaks: Sequence[Leak]) -> Sequence[Leak]:
    """All results; of thousands, those on all sites together and the strongest on single sites."""
    if len(leaks) <= MANY:
        return leaks
    overall = [leak for leak in leaks if leak.scope == "all sites"][:MANY]
    single = sorted((leak for leak in leaks if leak.scope != "all sites"), key=lambda leak: -leak.auc.value)
    return [*overall, *single[:TELLING]]


def _spread_figure(leaks: Sequence[Leak]) -> tuple[Figure, ...]:
    values = [leak.auc.value for leak in leaks if leak.scope != "all sites"]
    if len(leaks) <= MANY or not values:
        return ()
    title = "What the attacks gained on single sites"
    caption = in_the_middle(values, measured) + " An attack that only guesses is at 0.5 in the middle."
    picture, table = histogram(
        "aucs", title, caption, binned(values), across="AUC on one site", text=lambda v: f"{v:g}"
    )
    return (Figure(name="aucs", title=title, caption=caption, svg=picture, table=table),)


def _leak_table(leaks: Sequence[Leak]) -> Table:
    rates = sorted({at.fpr for leak in leaks for at in leak.tpr})
    rows = tuple(
        (
            k.scope,
            k.attack,
            k.adversary,
            _auc(k),
            *(_rate(k, rate) for rate in rates),
            count(k.members),
            count(k.nonmembers),
        )
        for k in leaks
    )
    return Table(
        caption="One row per attack and scope, with 95 % intervals.",
        head=(
            "scope",
            "attack",
            "who attacks",
            "AUC",
            *(f"TPR at {100 * rate:g} %" for rate in rates),
            "members",
            "others",
        ),
        rows=rows,
        numeric=frozenset(range(3, len(rates) + 6)),
    )


def _sampler(plans: Sequence[Budget], *, whole: bool) -> str:
    rates = _range(plans, "sampling_rate")
    if whole:
        return "none: every site is in every round" if rates == "1" else f"Poisson: a site joins a round with {rates}"
    return f"Poisson: each record joins a step with probability {rates}"


def _clip(run: RunSummary, plans: Sequence[Budget], *, whole: bool) -> str:
    if not whole:
        return f"{_range(plans, 'clip')} (L2 norm of one record's gradient)"
    quantile = run.job.get("privacy.clip_quantile", 0.0)
    follows = (
        f", then following the {quantile:g} quantile of the updates' lengths, which is paid for" if quantile else ""
    )
    return f"{_range(plans, 'clip')} (L2 norm of one site's update){follows}"


def _not_covered(run: RunSummary, plan: Budget) -> tuple[str, ...]:
    if plan.unit == "site":
        return (
            "Not covered: how many sites there are, and what the coordinator itself sees and keeps.",
            "Not covered: several sites of one owner, or people whose records lie at several sites; they add up.",
            "Not covered: metrics on the server's records, if those come from the sites.",
            "Not covered: choosing settings by trying several jobs; each job spends its own ε.",
        )
    sees_all = run.job.get("secure.mode", "off") == "off"
    server = "The server sees each site's update, noise included." if sees_all else "The server sees sums of updates."
    return (
        f"Not covered: more than one {plan.unit}. Several records of one person add up, at one site or at many.",
        "Not covered: how many records a site has, when it answers, and how often.",
        "Not covered: choosing settings by trying several jobs on the same records; each job spends its own ε.",
        server,
    )


def _each(plans: Sequence[Budget], text: Callable[[Budget], str]) -> str:
    return ", ".join(sorted({text(plan) for plan in plans}))


def _range(plans: Sequence[Budget], name: str) -> str:
    values = sorted({value for plan in plans if (value := getattr(plan, name)) is not None})
    if not values:
        return "not recorded"
    shown = [count(v) if isinstance(v, int) else significant(v) for v in (values[0], values[-1])]
    return shown[0] if shown[0] == shown[1] else f"{shown[0]} to {shown[1]}, by site"


def _auc(leak: Leak) -> str:
    return measured(leak.auc.value, leak.auc.low, leak.auc.high)


def _rate(leak: Leak, rate: float) -> str:
    at = next((at for at in leak.tpr if at.fpr == rate), None)
    if at is None:
        return "–"
    value, low, high = (f"{100 * end:.1f}" for end in (at.interval.value, at.interval.low, at.interval.high))
    return f"{value} % ({low} – {high})" + (" rough" if at.note else "")
