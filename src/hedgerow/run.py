"""A run as Python sees it: read from its folder, whoever wrote it and whenever."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hedgerow.errors import Tampered
from hedgerow.events import read_events
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
    def _events(self) -> tuple[dict[str, Any], ...]:
        return tuple(read_events(self.folder.events)) if self.folder.events.exists() else ()

    def events(self, kind: str = "") -> tuple[dict[str, Any], ...]:
        """The events in order, all or of one kind (`round-closed`)."""
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
        """ε spent by site at the job's δ, as the sites attest it."""
        return {event["site"]: event["epsilon"] for event in self.events("budget-spent")}

    @property
    def leakage(self) -> tuple[Mapping[str, Any], ...]:
        """Attack results, the one over all sites first."""
        return tuple(event["result"] for event in self.events("leakage-measured"))

    @property
    def rounds(self) -> int:
        """Rounds that released a model."""
        return max(self.folder.rounds(), default=0)

    @property
    def model_sha256(self) -> str:
        return self.folder.rounds().get(self.rounds, "")

    def model(self, task: Task) -> torch.nn.Module:
        """The final model in the task's architecture.

        Raises:
            Tampered: E401 if the checkpoint is damaged or missing.
        """
        latest = self.folder.latest()
        if latest is None:
            raise Tampered("E401", "the run has no checkpoint", place=str(self.path))
        layout, checkpoint = latest
        model = task.model()
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
        metrics = ", ".join(f"{key} {value:.4g}" for key, value in self.final.items())
        return f"<Run {self.name}: {self.status}, {self.rounds} rounds, {metrics}>"

    def _repr_html_(self) -> str:
        from html import escape

        page = escape(self.report.read_text(encoding="utf-8"), quote=True) if self.report.exists() else escape(repr(self))
        return f'<iframe srcdoc="{page}" width="100%" height="720" title="Report of {escape(self.name)}"></iframe>'
