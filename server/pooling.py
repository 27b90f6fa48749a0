"""The metrics that sites measured on their own held-out records, as one."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from flwr.app import Message

from hedgerow.server.round import WEIGHT_CAP

__all__ = ["credible", "pooled", "pooled_metrics"]

LONGEST_NAME = 64


def pooled_metrics(replies: Iterable[Message]) -> tuple[dict[str, float], int]:
    """As `pooled`, from the sites' replies, in the order of their nodes."""
    return pooled([_claim(reply) for reply in sorted(replies, key=lambda reply: reply.metadata.src_node_id)])


def pooled(claims: Sequence[tuple[int, Mapping[str, float]]]) -> tuple[dict[str, float], int]:
    """Means by metric, and on how many records most of them rest, from the sites' counts and metrics.

    A site weighs as many records as it says it measured on, at most three times the median, as for updates. The values
    are its word. What most records were measured by comes first and the loss last, so that a site cannot put a metric
    of its own in the main one's place.
    """
    counts = [records for records, _ in claims if records]
    most = int(WEIGHT_CAP * np.median(counts)) if counts else 0
    totals, sums = dict[str, int](), dict[str, float]()
    for records, values in claims:
        weight = min(records, most)
        for name, value in values.items():
            totals[name] = totals.get(name, 0) + weight
            sums[name] = sums.get(name, 0.0) + weight * value
    order = sorted(sums, key=lambda name: (name == "loss", -totals[name], name))
    return {name: sums[name] / totals[name] for name in order}, max(totals.values(), default=0)


def _claim(reply: Message) -> tuple[int, dict[str, float]]:
    """How many records a site says it measured on, and its metrics; (0, {}) if that is no measurement."""
    if reply.has_error() or "metrics" not in reply.content.metric_records:
        return 0, {}
    record = reply.content.metric_records["metrics"]
    numbers = {name: value for name, value in record.items() if isinstance(value, int | float)}
    return credible(numbers.pop("num-examples", 0), numbers)


def credible(records: object, numbers: Mapping[str, float]) -> tuple[int, dict[str, float]]:
    """A site's count and metrics if they can be a measurement, else (0, {})."""
    if not isinstance(records, int) or not 0 < records <= 2**31 or not all(map(math.isfinite, numbers.values())):
        return 0, {}
    # A name is shown on terminals and in reports, as a site's own is.
    return records, {name: value for name, value in numbers.items() if name.isprintable() and len(name) <= LONGEST_NAME}
