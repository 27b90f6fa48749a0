"""A red team as Python sees it: read from its folder, whoever ran it and whenever."""

from __future__ import annotations

import functools
from pathlib import Path

from hedgerow.errors import HedgerowError
from hedgerow.report.redteamadvice import Candidate, Recommendation, recommend
from hedgerow.report.redteamrows import NOBODY, Judged, RedTeamSummary, WorstCase, pair_of, worst_cases
from hedgerow.report.sweeprows import SweepRun
from hedgerow.simulations.redteam.battery import adversary, backdoors, what_it_does
from hedgerow.simulations.redteam.defences import asked_in_a_round
from hedgerow.simulations.redteam.folder import RedTeamFolder
from hedgerow.simulations.sweeps.found import BatchResult

__all__ = ["RedTeam"]


class RedTeam(BatchResult[RedTeamFolder]):
    """What a red team has found so far. In a notebook it shows its report."""

    folder_kind = RedTeamFolder

    @functools.cached_property
    def cases(self) -> tuple[WorstCase, ...]:
        """The worst of every attack and seed, for each split, number of hostile sites and defence."""
        return worst_cases(self.folder.cases, self.outcomes, backdoors=backdoors(self.folder.attacks))

    @property
    def own(self) -> tuple[WorstCase, ...]:
        """The cases of the job's own defence."""
        return tuple(case for case in self.cases if case.case.defence == self.folder.defences[0].name)

    @property
    def failed(self) -> tuple[SweepRun, ...]:
        """The runs that stopped with an error."""
        return tuple(run for run in self.outcomes if run.status in ("failed", "damaged"))

    @functools.cached_property
    def gates(self) -> tuple[Judged, ...]:
        """What became of each gate; none passes before every run is done."""
        return tuple(gate.check(self.own) for gate in self.folder.gates)

    @functools.cached_property
    def recommended(self) -> Recommendation | None:
        """The defence to take against the most hostile sites that were tried; `None` before every run is done."""
        return None if self.status == "unfinished" else recommend(self.cases, self._candidates())

    @property
    def table(self) -> list[dict[str, object]]:
        """One dict per attack on each defence, nobody attacking included: `split`, `f`, `defence`, `attack`, then what
        its seeds add up to.

        `lowest` is the worst of the seeds, `mean` and `sd` are over them, `lost` of them ended without a usable model.
        """
        metric = self._metric
        return [
            self._record(case, attack, metric)
            for case in self.cases
            if not case.case.unfit
            for attack in (NOBODY, *self.folder.attacks)
        ]

    @property
    def worst(self) -> list[dict[str, object]]:
        """One dict per split, number of hostile sites and defence: `worst` of every attack and seed and what it was
        caused `by`, its `low` and `high` over the seeds, `clean` without attack and its `cost` beside the plain mean,
        `backdoor` success, `seconds` a run, how many runs were `lost` or `broken`, and why it was not run (`unfit`)."""
        return [_worst_record(case) for case in self.cases]

    def draw(self) -> Path:
        """Draw the report again from the runs' events; returns the page's path.

        The runs behind the worst cases get a report of their own.

        Raises:
            Misconfigured: E107 without jinja2. Exhausted: E503, E504.
        """
        from hedgerow.report import write_report
        from hedgerow.report.redteampage import write_red_team_report

        for run in self._behind():
            path = self.path / "cells" / run.name
            if not (path / "report.html").exists():
                try:
                    write_report(path)
                except HedgerowError as error:
                    if error.code in ("E107", "E503", "E504"):
                        raise
        return write_red_team_report(self.path, self.summary, self.recommended)

    def __repr__(self) -> str:
        total = len(self.outcomes)
        lines = [f"<RedTeam {self.name}: {self.status}, {self.done} of {total} runs>"]
        return "\n".join([*lines, *(f"  {_line(case)}" for case in self.cases)])

    @property
    def _metric(self) -> str:
        return next((run.metric for run in self.outcomes if run.metric), "")

    def _record(self, case: WorstCase, attack: str, metric: str) -> dict[str, object]:
        of = pair_of(self.outcomes, case.case, attack)
        return {
            "split": case.case.split,
            "f": case.case.f,
            "defence": case.case.defence,
            "attack": attack,
            "seeds": of.result.count if of.result else 0,
            "metric": metric,
            "lowest": of.lowest,
            "mean": of.result.mean if of.result else None,
            "sd": of.result.sd if of.result else None,
            "backdoor": of.backdoor,
            "seconds": of.seconds,
            "lost": of.lost,
        }

    def _behind(self) -> list[SweepRun]:
        """The finished runs that the worst cases come from."""
        wanted = {
            (case.case.split, case.case.f, case.case.defence, case.attack, case.seed)
            for case in self.cases
            if case.attack
        }
        return [
            run
            for run in self.outcomes
            if run.done and (*(run.settings[key] for key in ("split", "f", "defence", "attack")), run.seed) in wanted
        ]

    def _candidates(self) -> list[Candidate]:
        folder, most = self.folder, max(self.folder.f)
        found = []
        for defence in folder.defences:
            job = defence.job(folder.job, most)
            reasons = (defence.unsound(most, asked_in_a_round(job, count)) for count in folder.sites.values())
            found.append(
                Candidate(
                    name=defence.name,
                    steps=defence.steps,
                    settings=defence.settings,
                    unsound=next((reason for reason in reasons if reason), ""),
                )
            )
        return found

    @property
    def summary(self) -> RedTeamSummary:
        """What its page says."""
        folder = self.folder
        return RedTeamSummary(
            name=self.name,
            task=folder.task,
            engine=self.engine,
            status=self.status,
            command=folder.command,
            digest=folder.digest(),
            job=folder.job.flat(),
            job_digest=folder.job.digest(),
            scenario=folder.scenario.flat(),
            attacks=folder.attacks,
            sees={attack: adversary(attack) for attack in folder.attacks},
            does={attack: what_it_does(attack) for attack in folder.attacks},
            defences=tuple(defence.name for defence in folder.defences),
            f=folder.f,
            splits=tuple(folder.sites),
            seeds=self.seeds,
            runs=self.outcomes,
            cases=self.cases,
            gates=self.gates if self.status != "unfinished" else (),
            guessing=self._guessing(),
        )

    def _guessing(self) -> dict[str, float]:
        """By split the share of the most common label, as the plain mean's first run tells of its sites."""
        found: dict[str, float] = {}
        runs = self.runs
        for cell in self.folder.cells:
            split = str(cell.settings["split"])
            if cell.settings["f"] == 0 and split not in found and cell.name in runs:
                labels = [event["labels"] for event in runs[cell.name].events("data-described") if event["labels"]]
                counts = [sum(of_one) for of_one in zip(*labels, strict=True)]
                found |= {split: max(counts) / sum(counts)} if counts else {}
        return found


def _worst_record(case: WorstCase) -> dict[str, object]:
    return {
        "split": case.case.split,
        "f": case.case.f,
        "defence": case.case.defence,
        "metric": case.metric,
        "worst": case.value,
        "by": case.attack,
        "seed": case.seed if case.attack else None,
        "low": case.low,
        "high": case.high,
        "clean": case.clean.mean if case.clean else None,
        "cost": case.cost,
        "backdoor": case.backdoor,
        "seconds": case.seconds,
        "lost": len(case.lost),
        "broken": len(case.broken),
        "unfit": case.case.unfit,
    }


def _line(case: WorstCase) -> str:
    where = f"{case.case.defence}, f = {case.case.f}, {case.case.split}"
    if case.case.unfit:
        return f"{where}: not run, {case.case.unfit}"
    if case.broken:
        return f"{where}: {len(case.broken)} runs failed, {case.broken[0].code}"
    if case.lost:
        return f"{where}: no usable model after {case.attack}"
    return f"{where}: " + ("nothing yet" if case.value is None else f"{case.metric} {case.value:.3f} by {case.attack}")
