"""The report people keep: one HTML page and its numbers as JSON, drawn from a run's events alone.

`write_report` draws `report.html` and `report.json`, also for a run that was interrupted, failed or is still going on,
and years later from the same `events.jsonl`. `load_run` gives the same facts to Python.
"""

from hedgerow.report.parsing import load_run
from hedgerow.report.summary import RunSummary
from hedgerow.report.writing import write_report

__all__ = ["RunSummary", "load_run", "write_report"]
