"""What a sweep's numbers do not say by themselves: what is missing, what is paired, and what an ε here means."""

from hedgerow.report.content import Note
from hedgerow.report.numbers import delta, plural
from hedgerow.report.sweeprows import SweepSummary
from hedgerow.scenario import Scenario

__all__ = ["sweep_notes"]


def sweep_notes(sweep: SweepSummary, *, cut: bool) -> tuple[Note, ...]:
    """Everything that must not be missed, the grave first; `cut` if the plot has not room for all cells."""
    notes = []
    private = any(run.epsilon is not None for run in sweep.runs)
    waiting = sum(run.status in ("waiting", "interrupted", "unfinished") for run in sweep.runs)
    if waiting:
        words = f"{plural(waiting, 'run is', 'runs are')} not done yet: hedgerow resume {sweep.name}"
        notes.append(Note(text=words, grave=True))
    stopped = sum(run.status in ("failed", "damaged") for run in sweep.runs)
    if stopped:
        words = f"{plural(stopped, 'run')} stopped with an error and count in no mean, which flatters their cells."
        notes.append(Note(text=words, grave=True))
    unmeasured = sum(run.done and run.value is None and bool(run.metric) for run in sweep.runs)
    if unmeasured:
        words = f"{plural(unmeasured, 'run')} ended with a metric that is no finite number, and count in no mean."
        notes.append(Note(text=words, grave=True))
    if len({run.metric for run in sweep.runs if run.metric}) > 1:
        notes.append(
            Note(text="Not every run has the same metric: means over different ones mean nothing.", grave=True)
        )
    if len(sweep.rows) > 1:
        notes.append(Note(text=_paired_words(sweep)))
    if len(sweep.seeds) > 1:
        words = "The 95 % interval (Student's t) is that of the mean over many seeds: it says nothing about other data."
        notes.append(Note(text=words))
    elif len(sweep.rows) > 1:
        notes.append(Note(text="One seed has no spread: a difference may be chance. Repeat with --seeds 5."))
    if private:
        notes.append(Note(text=_claim(sweep)))
    if private and len(sweep.rows) > 1:
        words = "Each ε is that of one run. Whoever picks the best cell on the same records has used them all."
        notes.append(Note(text=words))
    if cut:
        notes.append(Note(text="The plot shows the first cells only; the table has all of them."))
    return tuple(notes)


def _paired_words(sweep: SweepSummary) -> str:
    moved = [key for key in sweep.grid if key in Scenario.keys()]
    words = "Cells are paired: the same seed is the same split of the data and the same attackers in every cell"
    if moved:
        words += f", except for what sweeping {' and '.join(moved)} changes"
    return f"{words}. Differences from the first row are taken seed by seed."


def _claim(sweep: SweepSummary) -> str:
    """What the ε of the table means, which is nothing without its δ and its unit."""
    stated = sweep.job.get("privacy.delta")
    if "privacy.delta" in sweep.grid:
        at = ", at the δ of its row"
    else:
        at = f", at δ = {delta(float(stated))}" if stated is not None else ""
    words = f"ε is for one record, added or removed{at}."
    return f"{words} The noise of a simulation comes from its seed, so no model here is a DP release."
