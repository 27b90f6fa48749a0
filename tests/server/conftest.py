"""Replies and jobs for the server's tests."""

from collections.abc import Callable

import numpy as np
import pytest

from hedgerow.job import Job
from hedgerow.wire import Reply

MakeReply = Callable[..., Reply]
MakeJob = Callable[..., Job]


@pytest.fixture
def reply() -> MakeReply:
    def make(sender: int, update: object = (1.0, 2.0), *, site: str = "", **fields: object) -> Reply:
        vector = None if update is None else np.asarray(update)
        vector = vector.astype(np.float32) if vector is not None and not isinstance(update, np.ndarray) else vector
        return Reply(sender=sender, site=site or f"site-{sender}", update=vector, **fields)  # type: ignore[arg-type]

    return make


@pytest.fixture
def job() -> MakeJob:
    """A job without privacy and with the plain mean, changed by dotted keys written with two underscores."""

    def make(**changes: object) -> Job:
        values: dict[str, object] = {
            "rounds": 3,
            "privacy.unit": "none",
            "secure.mode": "off",
            "aggregate.rule": "mean",
            "aggregate.byzantine": 0,
            "aggregate.before": "none",
            "cohort.quorum": 1,
            "cohort.grace": 0.0,
            "evaluate": "none",
        }
        values.update({key.replace("__", "."): value for key, value in changes.items()})
        return Job.from_flat(values)  # type: ignore[arg-type]

    return make
