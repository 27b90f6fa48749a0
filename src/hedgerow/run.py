"""A run as Python sees it: read from its folder, whoever wrote it and whenever."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hedgerow.errors import Misconfigured, Tampered
from hedgerow.eventlog import current_events, read_events
from hedgerow.runs import RunFolder

if TYPE_CHECKING:
    import torch

    from hedgerow.privacy import Ledger
    from hedgerow.task import Task

__all__ = ["Run"]


class Run:
    """What happened, from `events.jsonl` and the checkpoints. In a notebook it shows its report's first screen."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.folder = RunFolder.open(self.path)

    @property
    def name(self) -> str:
        return self.folder.name

    @functools.cached_property
    def _everything(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(read_events(self.folder.events)) if self.folder.events.exists() else ()

    @functools.cached_property
    def _events(self) -> tuple[Mapping[str, Any], ...]:
        return current_events(self._everything)

    def events(self, kind: str = "") -> tuple[Mapping[str, Any], ...]:
        """The events in order, all or of one kind (`round-closed`), without those that a resume superseded."""
        return tuple(event for event in self._events if not kind or event["event"] == kind)

    @property
    def status(self) -> str:
        """`finished`, `interrupted`, `failed`, or `unfinished` where the last word is missing (a kill)."""
        last = self._events[-1] if self._events else {}
        return str(last["status"]) if last.get("event") == "run-finished" else "unfinished"

    @property
    def history(self) -> tuple[dict[str, float], ...]:
        """Metrics after each round: `round` and the task's metrics; a round run again counts once."""
        latest = {event["round"]: {"round": event["round"], **event["metrics"]} for event in self.events("evaluated")}
        return tuple(latest[number] for number in sorted(latest))

    @property
    def final(self) -> Mapping[str, float]:
        """The last metrics, without the round."""
        last = self.history[-1] if self.history else {}
        return {key: value for key, value in last.items() if key != "round"}

    @property
    def epsilon(self) -> Mapping[str, float]:
        """ε spent by site at the job's δ, as the sites attest it; what a superseded round spent stays spent."""
        spent: dict[str, float] = {}
        for event in self._everything:
            for site, value in event["epsilon"].items() if event["event"] == "budgets-spent" else ():
                epsilon = float("inf") if value is None else float(value)  # not finite: nothing bounds what was spent
                spent[site] = max(spent.get(site, 0.0), epsilon)
        return spent

    @property
    def leakage(self) -> tuple[Mapping[str, Any], ...]:
        """Attack results, the one over all sites first."""
        return tuple(event["result"] for event in self.events("leakage-measured"))

    @property
    def rounds(self) -> int:
        """The last round that released a model."""
        return max(self.folder.rounds(), default=0)

    @property
    def model_sha256(self) -> str:
        return self.folder.rounds().get(self.rounds, "")

    def model(self, task: Task) -> torch.nn.Module:
        """The final model in the task's architecture.

        Raises:
            Tampered: E401 if the checkpoint is damaged or missing. Misconfigured: E113 if the task's model is another.
        """
        latest = self.folder.latest()
        if latest is None:
            raise Tampered("E401", "the run has no checkpoint", place=str(self.path))
        layout, checkpoint = latest
        model = task.model()
        if layout.of(model) != layout:
            raise Misconfigured(
                "E113", "the task's model has other tensors than the run's checkpoint", place=str(self.path)
            )
        layout.load(checkpoint.model, model)
        return model

    def ledger(self) -> Ledger:
        """The simulated sites' ledger."""
        from hedgerow.privacy import Ledger

        return Ledger.open(self.folder.ledger, durable=False)

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def __repr__(self) -> str:
        metrics = ", ".join(f"{key} {'—' if value is None else f'{value:.4g}'}" for key, value in self.final.items())
        return f"<Run {self.name}: {self.status}, {self.rounds} rounds, {metrics}>"

    def _repr_html_(self) -> str:
        from html import escape

        page = self.report.read_text(encoding="utf-8") if self.report.exists() else escape(repr(self))
        size = 'width="100%" height="720"'
        return f'<iframe srcdoc="{escape(page)}" {size} title="Report of {escape(self.name)}"></iframe>'
