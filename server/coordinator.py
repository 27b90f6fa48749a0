"""What a round does to a run, whoever carries its messages: close, save, tell, or give up after three empty ones."""

from collections.abc import Callable, Iterable

from hedgerow.errors import Exhausted
from hedgerow.events import Event, RoundStarted
from hedgerow.job import Job
from hedgerow.server.round import Closed, GlobalState, VoidRound
from hedgerow.server.telling import Teller
from hedgerow.wire import Reply

__all__ = ["Coordinator", "Save"]

VOID_LIMIT = 3  # rounds in a row that released nothing: going on would only spend the sites' time

Save = Callable[[int, GlobalState, Callable[[str], None]], None]


class Coordinator:
    """Carries a run's state from round to round.

    `tell` receives every event. `save(round, state, announce)` writes a round's state, calls `announce` with the
    model's hash, and then makes the round the one that a resumed run goes on from: a crash in between leaves a round
    that is told twice, never one that is missing.

    Guarantee: `state` moves on only after `save` returned, and a round whose quorum or rule is not satisfied changes
    nothing.
    """

    def __init__(self, job: Job, *, tell: Callable[[Event], None], save: Save, state: GlobalState | None) -> None:
        self.job = job
        self.state = state
        self._tell = tell
        self._save = save
        self._teller = Teller(tell, job.privacy)
        self._voided = 0

    def open(self, number: int, *, asked: int) -> None:
        """A round begins."""
        self._tell(RoundStarted(round=number, rounds=self.job.rounds, asked=asked))

    def spent(self, number: int, replies: Iterable[Reply]) -> None:
        """Sites that are charged for a round without an answer in time: simulated ones say so all the same."""
        self._teller.spent(number, replies)

    def close(
        self,
        number: int,
        step: Callable[[GlobalState], Closed],
        *,
        train: float,
        bytes_down: int,
        bytes_up: int,
        clock: float | None = None,
    ) -> Closed | None:
        """The round's outcome by `step`, saved and told; `None` if it released nothing.

        `train` is how many seconds the sites took, `clock` the simulated time at the round's end.

        Raises:
            Exhausted: E501 or E502 after three rounds in a row that released nothing.
        """
        if self.state is None:
            raise RuntimeError("a round was closed before there was a model")
        try:
            closed = step(self.state)
        except VoidRound as void:
            self._teller.voided(number, void, clock=clock)
            self._voided += 1
            if self._voided == VOID_LIMIT:
                raise Exhausted(
                    void.cause.code,
                    f"{VOID_LIMIT} rounds in a row released nothing; the last one: {void.cause.message}",
                    hint="the rejected sites and their reasons are in the report",
                ) from void
            return None
        self._voided = 0
        self._save(
            number,
            closed.state,
            lambda sha256: self._teller.closed(
                number,
                closed,
                seconds={"train": train, **closed.seconds},
                bytes_down=bytes_down,
                bytes_up=bytes_up,
                model_sha256=sha256,
                clock=clock,
            ),
        )
        self.state = closed.state
        return closed
