"""The first screen of a red team: did the job's own defence hold, what does it cost, and is another one better?"""

from collections.abc import Sequence

from hedgerow.report.beside import lower_is_better
from hedgerow.report.content import Answer, Mark
from hedgerow.report.numbers import plural
from hedgerow.report.redteamadvice import Recommendation
from hedgerow.report.redteamrows import RedTeamSummary, WorstCase
from hedgerow.report.redteamtexts import figure, points

__all__ = ["red_team_answers"]


def red_team_answers(team: RedTeamSummary, advice: Recommendation | None) -> tuple[Answer, ...]:
    """The three answers, in the order of the questions."""
    own = [case for case in team.cases if case.case.defence == team.defences[0]]
    return _held(team, own), _cost(team, own), _better(team, advice)


def _held(team: RedTeamSummary, own: Sequence[WorstCase]) -> Answer:
    question, name = "Did the job's own defence hold?", team.defences[0]
    lost = [run for case in own for run in case.lost]
    unfit = next((case for case in own if case.case.unfit), None)
    failed = next((run for case in own for run in case.broken), None)
    tried = [case for case in own if case.value is not None]
    unit = f"worst {team.metric or 'metric'} of {name} under attack"
    if lost:
        text = f"{lost[0].settings['attack']} left no usable model (seed {lost[0].seed})."
        return _answer(question, Mark.NO, "No", "no model", unit, text)
    if not tried:
        text = f"{unfit.case.defence} cannot be run: {unfit.case.unfit}." if unfit else "No run under attack is done."
        text = f"Run {failed.name} failed: {failed.code} {failed.reason}." if failed else text
        return _answer(question, Mark.UNKNOWN, "Not measured", "–", unit, text)
    pick = max if lower_is_better(team.metric) else min
    worst = pick(tried, key=lambda case: case.value or 0.0)
    assert worst.value is not None
    text = (
        f"By {worst.attack}, with {plural(worst.case.f, 'hostile site')}, split {worst.case.split}, seed {worst.seed}."
    )
    if worst.clean is not None:
        text += f" Where nobody attacks it reaches {figure(worst.clean.mean)}."
    if unfit:
        text += f" With {plural(unfit.case.f, 'hostile site')} it cannot be run: {unfit.case.unfit}."
    mark, verdict = _verdict(team)
    return _answer(question, mark, verdict, figure(worst.value), unit, text)


def _verdict(team: RedTeamSummary) -> tuple[Mark, str]:
    if not team.gates:
        return Mark.UNKNOWN, "No gate was set"
    failed = [gate.text.partition(":")[0] for gate in team.gates if not gate.passed]
    if failed:
        return Mark.NO, f"Gate failed: {', '.join(failed)}"
    return Mark.YES, f"Gate{'s' if len(team.gates) > 1 else ''} passed"


def _cost(team: RedTeamSummary, own: Sequence[WorstCase]) -> Answer:
    question = "What does it cost when nobody attacks?"
    unit = f"of {team.metric or 'the metric'}, beside the plain mean"
    known = [(case.cost, case) for case in own if case.cost is not None]
    if not known:
        return _answer(question, Mark.UNKNOWN, "Not measured", "–", unit, "The runs without attack are not done.")
    cost, case = max(known, key=lambda pair: pair[0])
    clean = f"{figure(case.clean.mean)}" if case.clean else "?"
    text = f"It reaches {clean} without attack, on the split {case.case.split}, told of {case.case.f}."
    spread = list(case.costs.values())
    if len(spread) > 1:
        text += f" By seed the cost is {points(min(spread), team.metric)} to {points(max(spread), team.metric)}."
    nothing = cost <= max(spread) - min(spread) if len(spread) > 1 else False
    mark, verdict = (Mark.YES, "Nothing clear") if nothing or cost <= 0 else (Mark.PARTLY, "Something")
    return _answer(question, mark, verdict, points(cost, team.metric), unit, text)


def _better(team: RedTeamSummary, advice: Recommendation | None) -> Answer:
    question = "Is another defence better?"
    if advice is None:
        return _answer(question, Mark.UNKNOWN, "Not known yet", "–", "", "Not all runs are done.")
    if not advice.defence or advice.worst is None:
        return _answer(question, Mark.NO, "None can be recommended", "–", "", advice.words[-1])
    unit = f"worst {team.metric} of {advice.defence} with {plural(advice.f, 'hostile site')}"
    own = advice.defence == team.defences[0]
    verdict = "The job's own is the one to take" if own else "Another one is"
    mark = Mark.YES if own else Mark.PARTLY
    return _answer(question, mark, verdict, figure(advice.worst), unit, " ".join(advice.words[:2]))


def _answer(question: str, mark: Mark, verdict: str, shown: str, unit: str, text: str) -> Answer:
    return Answer(question=question, mark=mark, verdict=verdict, figure=shown, unit=unit, interval="", text=text)
