"""The first screen: three questions that everybody asks, answered in plain words, and what was switched off."""

import math
from collections.abc import Sequence

from hedgerow.report.beside import Beside, comparable, lower_is_better
from hedgerow.report.content import Answer, Mark, Note
from hedgerow.report.numbers import capital, count, delta, epsilon, measured, percent, plural, span
from hedgerow.report.summary import Evaluation, RunSummary, Site
from hedgerow.settings import Scalar

__all__ = ["NOT_A_RELEASE", "answers", "did_it_hold", "did_it_learn", "notes", "what_leaked"]

NOT_A_RELEASE = "simulation: not a DP release"
_OUTVOTING = ("median", "trimmed-mean", "geometric-median")
_STEPS = {
    "clip": "clipping",
    "reject": "rejection by length",
    "arc": "adaptive clipping",
    "nnm": "nearest-neighbour mixing",
}


def answers(run: RunSummary, others: Sequence[Beside]) -> tuple[Answer, ...]:
    """The three answers, in the order of the questions."""
    return did_it_learn(run, others), did_it_hold(run, others), what_leaked(run, others)


def did_it_learn(run: RunSummary, others: Sequence[Beside]) -> Answer:
    """Compare the last model with the one before training, with the twins beside it."""
    question, final = "Did it learn?", run.final
    if final is None:
        text = f"No model was evaluated. {plural(run.released, 'round')} released a model."
        return _unknown(question, "Not measured", text)
    first = run.evaluations[0]
    mark, verdict = _learned(first, final)
    value, ends = span(final.value, final.low, final.high)
    where = {"server": " held by the server", "sites": " held by the sites"}.get(final.where, "")
    known = f" on {plural(final.records, 'test record')}{where}" if final.records else ""
    text = f"{measured(final.value, final.low, final.high)} {final.metric}{known}"
    text += _progress(run, final)
    if first is not final:
        direction = "down" if first.value > final.value else "up" if first.value < final.value else "unchanged"
        when = "before training" if first.round == 0 else f"after round {first.round}"
        text += f", {direction} from {measured(first.value)} {when}"
    for other in others:
        theirs = comparable(run, other.run)
        if theirs is not None:
            text += f"; {measured(theirs.value)} {other.name}" if other.twin else ""
    return Answer(
        question=question,
        mark=mark,
        verdict=verdict,
        figure=value,
        unit=final.metric,
        interval=f"95 % interval {ends}" if ends else "",
        text=text + ".",
    )


def did_it_hold(run: RunSummary, others: Sequence[Beside]) -> Answer:
    """Say who attacked, what the rule excluded, and what the attack does to the same job undefended."""
    question, defence = "Did it hold?", run.defence
    attack = str(run.scenario.get("attack", "none")).replace("-", " ")
    attackers = max(_whole(run.scenario.get("attackers")), defence.hostile_sites)
    sites = run.enrolled or len(run.sites)
    void = [entry for entry in run.rounds if entry.void]
    failures = f" {plural(len(void), 'round')} released nothing: {void[-1].void}." if void else ""
    failures += _more_than_expected(run)
    if not attackers:
        not_counted = sum(entry.rejected for entry in run.rounds)
        text = f"No attacker is known in this run, so the defence was not put to the test. {_defence_in_words(run)}"
        text += f" {plural(not_counted, 'reply', 'replies')} rejected, left out or missing.{failures}"
        return _unknown(question, "Not tested", text)
    text = f"{count(attackers)} of {plural(sites, 'site')} attacked ({attack}); "
    figure, unit = f"{count(attackers)} of {count(sites)}", "sites attacked"
    if defence.hostile_sites and defence.hostile_received:
        excluded, received = count(defence.hostile_excluded), count(defence.hostile_received)
        figure, unit = f"{excluded} of {received}", "hostile updates excluded"
        honest = f"{count(defence.honest_excluded)} of {count(defence.honest_received)} honest ones too"
        honest = honest if defence.honest_excluded else f"and no honest one of {count(defence.honest_received)}"
        text += f"{excluded} of {received} hostile updates excluded, {honest}."
        if not defence.hostile_excluded and run.job.get("aggregate.rule") in _OUTVOTING:
            text += " This rule outvotes hostile updates rather than excluding them."
        if defence.hostile_weight:
            text += f" Hostile updates had {percent(defence.hostile_weight)} of the aggregate's weight."
    else:
        text += "which updates were hostile is not recorded."
    text += f" {_defence_in_words(run)}{failures}"
    mark, verdict, why = _held(run, others)
    return Answer(
        question=question, mark=mark, verdict=verdict, figure=figure, unit=unit, interval="", text=f"{text}{why}"
    )


def what_leaked(run: RunSummary, others: Sequence[Beside]) -> Answer:
    """State the guarantee with all that belongs to it, and the best attack's success beside it."""
    question, site, leak = "What did it give away?", run.most_spent, run.overall_leak
    if site is not None and site.planned is not None and site.spent is not None and site.delta is not None:
        figure, unit = f"ε = {epsilon(site.spent)}", f"at δ = {delta(site.delta)}, per {site.planned.unit}"
        more = _whose(run, site)
        text = (
            f"Each {site.planned.unit} is protected by ε = {epsilon(site.spent)} at δ = {delta(site.delta)} ({more}; "
            f"{site.planned.accountant.upper()} accountant; {_relation(site.planned.relation)})."
        )
        if run.simulated_noise:
            text = text.replace("is protected by", "would be protected by", 1) + f" This is a {NOT_A_RELEASE}."
    elif (site := run.most_planned) is not None and site.planned is not None:
        plan = site.planned
        figure, unit = f"ε = {epsilon(plan.epsilon)}", f"planned, at δ = {delta(plan.delta)}, per {plan.unit}"
        text = (
            f"Each {plan.unit} is planned to be protected by ε = {epsilon(plan.epsilon)} at δ = {delta(plan.delta)} "
            f"(site {site.name}, the most; {plan.accountant.upper()} accountant; {_relation(plan.relation)}), "
            "but what was spent is not recorded."
        )
    elif run.private:
        figure, unit = "ε unknown", "not recorded"
        text = "Differential privacy was asked for, but no ε is recorded with its unit, accountant and relation."
    else:
        figure, unit = "no bound", "no differential privacy recorded"
        off = "was off" if "privacy.unit" in run.job else "is not recorded"
        text = f"Nothing bounds what the model gives away about a record: differential privacy {off}."
    if run.private and run.most_planned and run.uncovered:
        text += f" {plural(len(run.uncovered), 'site')} took part without a recorded budget: not covered by this."
    interval = ""
    if leak is not None:
        low, high = leak.auc.low, leak.auc.high
        interval = f"attack AUC {measured(leak.auc.value, low, high)}"
        scope = "" if leak.scope == "all sites" else f" (on {leak.scope})"
        text += f" The best membership attack tried gains AUC {measured(leak.auc.value, low, high)}{scope}"
        for other in others:
            theirs = other.run.overall_leak
            changed = other.twin and other.run.private != run.private
            text += f"; {measured(theirs.auc.value)} {other.name}" if theirs and changed else ""
        text += ". An attack that fails is no proof that all do."
    else:
        text += " No attack was tried on the model, so nothing is measured."
    text += "".join(f" Release gate {gate.text}." for gate in run.gates)
    mark, verdict = _gave_away(run)
    return Answer(question=question, mark=mark, verdict=verdict, figure=figure, unit=unit, interval=interval, text=text)


def notes(run: RunSummary) -> tuple[Note, ...]:
    """What a reader must know before the numbers: how the run ended, and what does not protect."""
    found = []
    if run.status != "finished":
        found.append(Note(text=_how_it_ended(run), grave=True))
    if run.simulated_noise:
        source = "; ".join(words.partition(" (")[0] for words in run.randomness)
        found.append(Note(text=f"{capital(NOT_A_RELEASE)}. The noise came from: {source}.", grave=True))
    found.extend(Note(text=f"{capital(text.rstrip('.'))}.", grave=True) for text in run.switched_off)
    found.extend(Note(text=f"Release gate {gate.text}", grave=True) for gate in run.gates if not gate.passed)
    if run.resumed_after:
        last = ", ".join(str(after) for after in run.resumed_after)
        found.append(Note(text=f"Resumed after round {last}; rounds that were done again are counted once."))
    return tuple(found)


def _how_it_ended(run: RunSummary) -> str:
    known = {"failed": "This run failed", "interrupted": "This run was interrupted"}
    ended = known.get(run.status, "This run has no end in its log: it may still be going on, or it was killed")
    why = f": {run.code} {run.reason}".rstrip() if run.code or run.reason else ""
    of = f" of {plural(run.planned_rounds, 'round')}" if run.planned_rounds else ""
    return f"{ended}{why}. Rounds that released a model: {run.released}{of}; all numbers are from those."


def _learned(first: Evaluation, final: Evaluation) -> tuple[Mark, str]:
    if first is final:
        return Mark.UNKNOWN, "Nothing to compare"
    sign = -1 if lower_is_better(final.metric) else 1
    better = sign * (final.value - first.value) > 0
    if None not in (first.low, first.high, final.low, final.high):
        clear = (final.low or 0.0) > (first.high or 0.0) if sign > 0 else (final.high or 0.0) < (first.low or 0.0)
        return (Mark.YES, "Yes") if clear else (Mark.PARTLY, "Not clearly") if better else (Mark.NO, "No")
    return (Mark.YES, "Yes") if better else (Mark.NO, "No")


def _held(run: RunSummary, others: Sequence[Beside]) -> tuple[Mark, str, str]:
    """The verdict rests on the model: excluding updates is the means, a model that works is the end."""
    final = run.final
    if final is None:
        return Mark.UNKNOWN, "Not measured", " No model was evaluated, so nobody can say whether it held."
    opens = ""
    if final.backdoor is not None:
        share = measured(final.backdoor)
        opens = f" The final model takes {share} of the records with the attackers' trigger for what they want."
    learned, _ = _learned(run.evaluations[0], final)
    if final.backdoor is not None and final.backdoor > 0.5:  # more often than not
        if learned is not Mark.YES:
            return Mark.NO, "No", f"{opens} The model did not clearly learn under attack: it may be guessing them, too."
        untold = "More than half counts as open; how many a model takes that nobody attacks was not measured here."
        return Mark.NO, "No: backdoor", f"{opens} {untold}"
    undefended = next((other for other in others if other.twin and other.run.folder == "undefended"), None)
    theirs = comparable(run, undefended.run) if undefended else None
    if theirs is None:
        if learned is Mark.YES:
            why = " It learned all the same, but no undefended run stands beside it."
            return Mark.PARTLY, "It learned", opens + why
        return Mark.NO, "No", f"{opens} The model did not clearly learn under attack."
    mine, other = (measured(entry.value, entry.low, entry.high) for entry in (final, theirs))
    why = f"{opens} {capital(final.metric)} is {mine} with the defence, {other} without."
    if theirs.backdoor is not None and final.backdoor is not None:
        why += (
            f" The backdoor opens for {measured(final.backdoor)} with the defence, {measured(theirs.backdoor)} without."
        )
    better, _ = _learned(theirs, final)
    if better is Mark.YES and learned is Mark.YES:
        return Mark.YES, "Yes", why
    if learned is Mark.NO:
        return Mark.NO, "No", why
    return Mark.PARTLY, "Not clearly", why


def _gave_away(run: RunSummary) -> tuple[Mark, str]:
    leak, bounded = run.overall_leak, run.most_spent is not None and not run.uncovered
    word = "" if run.simulated_noise else ", bounded"  # a simulated bound bounds nothing
    if any(not gate.passed for gate in run.gates):
        return Mark.NO, "More than allowed"
    if leak is not None and leak.auc.low > 0.5:
        return (Mark.PARTLY, f"A little{word}") if bounded else (Mark.NO, "A measurable leak")
    if leak is not None:
        return (Mark.YES, f"No leak found{word}") if bounded else (Mark.PARTLY, "No leak found, no bound")
    if run.most_planned is not None and not bounded:
        return Mark.UNKNOWN, "Not fully recorded"
    return (Mark.PARTLY, f"Not measured{word}") if bounded else (Mark.NO, "No bound, not measured")


def _progress(run: RunSummary, final: Evaluation) -> str:
    if run.status == "finished" or not run.planned_rounds:
        return ""
    return f", as of round {final.round} of {run.planned_rounds}"


def _defence_in_words(run: RunSummary) -> str:
    rule = run.job.get("aggregate.rule")
    if rule is None:
        return "The aggregation rule is not recorded."
    tolerated = _whole(run.job.get("aggregate.byzantine"))
    before = str(run.job.get("aggregate.before", "none"))
    steps = " after " + _listed([_STEPS.get(step, step) for step in before.split("+")]) if before != "none" else ""
    fewer = ", fewer than attacked" if tolerated < run.defence.hostile_sites else ""
    if rule == "mean" and before == "none":
        return "The rule was the plain mean, which tolerates no hostile site."
    return f"The rule was {str(rule).replace('-', ' ')}{steps}, set for {plural(tolerated, 'hostile site')}{fewer}."


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + (" and " if len(words) > 1 else "") + words[-1]


def _more_than_expected(run: RunSummary) -> str:
    """Whether too many updates looked hostile in more rounds than chance explains: honest ones do in one of twenty."""
    odd = [entry.suspects for entry in run.rounds if entry.suspects]
    released = sum(not entry.void for entry in run.rounds)
    by_chance = released / 20
    if len(odd) <= by_chance + 3 * math.sqrt(by_chance * 19 / 20):
        return ""
    return (
        f" In {len(odd)} of {plural(released, 'round')} more updates looked hostile (up to {max(odd)}) than the "
        "rule was set for: unusual data, or more attackers than expected."
    )


def _whole(value: Scalar | None) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _whose(run: RunSummary, most: Site) -> str:
    spent = [epsilon(site.spent) for site in run.sites if site.spent is not None and site.planned]
    if len(spent) > 1 and len(set(spent)) == 1:
        return f"the same at {plural(len(spent), 'site')}"
    return (
        f"site {most.name}, the most of {plural(len(run.sites), 'site')}" if len(run.sites) > 1 else f"site {most.name}"
    )


def _relation(relation: str) -> str:
    return relation.replace("_", " ").replace("/", " or ")


def _unknown(question: str, verdict: str, text: str) -> Answer:
    return Answer(question=question, mark=Mark.UNKNOWN, verdict=verdict, figure="–", unit="", interval="", text=text)
