"""What a red team's numbers do not say by themselves: what is missing, and what a battery can show at all."""

from hedgerow.report.content import Note
from hedgerow.report.numbers import plural
from hedgerow.report.redteamrows import RedTeamSummary, broken
from hedgerow.report.redteamtexts import figure

__all__ = ["red_team_notes"]

ADAPTIVE = "knows the rule"
LITTLE = 0.1  # of the way from guessing to no error: a model that is not farther has hardly learned


def red_team_notes(team: RedTeamSummary) -> tuple[Note, ...]:
    """Everything that must not be missed, the grave first."""
    notes = []
    waiting = sum(run.status in ("waiting", "interrupted", "unfinished") for run in team.runs)
    if waiting:
        words = f"{plural(waiting, 'run is', 'runs are')} not done yet, so worse may come: hedgerow resume {team.name}"
        notes.append(Note(text=words, grave=True))
    lost = [run for case in team.cases for run in case.lost]
    if lost:
        words = f"{plural(len(lost), 'run')} under attack ended without a usable model, which is the worst there is."
        notes.append(Note(text=words, grave=True))
    failed = [run for run in team.runs if broken(run)]
    if failed:
        words = f"{plural(len(failed), 'run')} failed for other reasons and count in nothing: {failed[0].name}, "
        words += f"{failed[0].code} {failed[0].reason}.".replace("..", ".")
        notes.append(Note(text=words, grave=True))
    notes += _unlearned(team)
    unfit = {(case.case.defence, case.case.f): case.case.unfit for case in team.cases if case.case.unfit}
    for (defence, f), why in unfit.items():
        notes.append(Note(text=f"{defence} was not run with f = {f}: {why}."))
    momentum = team.job.get("local.update_momentum")
    if momentum:
        words = f"Whatever a defence's name does not state is as in the job: local.update_momentum = {momentum}, too."
        notes.append(Note(text=words))
    if any(case.backdoor is not None for case in team.cases):
        words = (
            "A model that nobody attacks takes some of the triggered records for the target, too: the attack "
            "badnets:1e-9, which marks no record, shows how many."
        )
        notes.append(Note(text=words))
    for gate in team.gates:
        notes.append(Note(text=f"Gate {gate.text}.", grave=not gate.passed))
    notes.append(
        Note(
            text="A battery is a lower bound of the harm: an attack that is not in it may do worse, and an attacker "
            "who reads this page will choose one."
        )
    )
    fitted = [attack for attack in team.attacks if team.sees.get(attack, "") == ADAPTIVE]
    fits = "fits its strength" if len(fitted) == 1 else "fit their strength"
    who = f"Only {' and '.join(fitted)} {fits}" if fitted else "No attack here fits its strength"
    notes.append(Note(text=f"{who} to the defence: attacks of a fixed strength flatter it."))
    if len(team.seeds) > 1:
        words = (
            f"The worst is the plain worst of {len(team.seeds)} seeds, not an interval: another split of the data or "
            "other hostile sites may be worse. The same seed is the same split and the same hostile sites for every "
            "defence."
        )
    else:
        words = "One seed has no interval and no spread: a difference may be chance. Repeat with --seeds 3."
    notes.append(Note(text=words))
    return tuple(notes)


def _unlearned(team: RedTeamSummary) -> list[Note]:
    """The splits in which even the plain mean does not learn with nobody attacking: no attack can be seen there."""
    notes = []
    for split, guessing in team.guessing.items() if team.metric == "accuracy" else ():
        runs = [run for run in team.runs if (run.settings["split"], run.settings["f"]) == (split, 0)]
        values = [run.value for run in runs if run.value is not None]
        if values and max(values) <= guessing + LITTLE * (1 - guessing):
            best = figure(max(values))
            words = (
                f"Even the plain mean that nobody attacks reaches only accuracy {best} on split {split}; to answer "
                f"always with the most common label gives {figure(guessing)}. The model has not learned, so "
                "these numbers tell no defence from another: first find a job that learns, with more rounds or another "
                "local.lr."
            )
            notes.append(Note(text=words, grave=True))
    return notes
