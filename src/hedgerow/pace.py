"""How fast a run goes, how long it still takes, and time spans as short words."""

from collections import deque
from collections.abc import Callable

__all__ = ["Pace", "span"]

RECENT = 10.0  # seconds over which the rate is taken
FEWEST = 5  # rounds that it is taken over at least, once there are so many
MARKS = 100  # as many are kept, at most about


class Pace:
    """How fast rounds pass, over the last ten seconds or the last five rounds, whichever is longer."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque()

    def forget(self) -> None:
        """The run goes on from elsewhere."""
        self._marks.clear()

    def reached(self, number: int) -> None:
        """So many rounds are over now."""
        now, marks = self._clock(), self._marks
        if marks and marks[-1][1] == number:
            return
        if len(marks) > 2 * FEWEST and now - marks[-2][0] < RECENT / MARKS:
            marks.pop()
        marks.append((now, number))
        while len(marks) > FEWEST + 1 and now - marks[0][0] > RECENT:
            marks.popleft()

    def words(self, rounds: int) -> tuple[str, str]:
        """The rate and the time left; empty before two rounds are known."""
        if len(self._marks) < 2:
            return "", ""
        (since, first), (now, last) = self._marks[0], self._marks[-1]
        if now <= since or last <= first:
            return "", ""
        each = (now - since) / (last - first)
        rate = f"{1 / each:,.{0 if each < 0.01 else 1}f} rounds/s" if each <= 1 else f"{span(each)}/round"
        return rate, f"{span(each * (rounds - last))} left" if rounds > last else ""


def span(seconds: float) -> str:
    """A time span in its two largest units.

    >>> span(4.21), span(75), span(1500), span(7500), span(533_000)
    ('4.2 s', '1 min 15 s', '25 min', '2 h 05 min', '6 d 4 h')
    """
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if minutes < 10 else f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60:02d} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"
