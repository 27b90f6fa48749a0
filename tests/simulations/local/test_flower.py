"""The steps' patience."""

import threading

import pytest

from hedgerow.errors import Exhausted
from hedgerow.simulations.local.flower import Stopped, Watch


def test_patience_ends_with_the_time_or_with_the_stop_event() -> None:
    now, stop = [100.0], threading.Event()
    watch = Watch(5.0, stop, clock=lambda: now[0])
    now[0] = 105.0
    watch.pause()
    assert watch.elapsed == 5.0
    now[0] = 105.1
    with pytest.raises(Exhausted, match="E505"):
        watch.pause()
    stop.set()
    with pytest.raises(Stopped):
        watch.pause()
