"""What a round does to a run, whoever carries its messages: close, save, tell, or give up after three empty ones."""

from collections.abc import Callable, Iterable

from hedgerow.errors import CODES, Exhausted, Misconfigured
from hedgerow.events import Event, RoundStarted
from hedgerow.job import Job
from hedgerow.server.round import Closed, GlobalState, VoidRound
from hedgerow.server.telling import Teller
from hedgerow.wire import Reply

__all__ = ["Coordinator", "Save"]

VOID_LIMIT = 3  # rounds in a row that released nothing: going on would only spend the sites' time
NO_PROMISE = "E130"  # a site found that the model mixes records, so what the other sites promise is not kept either

Save = Callable[[int, GlobalState, Callable[[str], None]], None]


class Coordinator:
    """Carries a run's state from round to round.

    `tell` receives every event. `save(round, state, announce)` writes a round's state, calls `announce` with the
    model's hash, and then makes the round the one that a resumed run goes on from: a crash in between leaves a round
    that is told twice, never one that is missing.

    In a run that is `simulated` a site which finds that the model mixes records (E130) ends the run. A real site's
    word for it rejects that site alone, as any failure does: anyone could say so to end a run.

    Guarantee: `state` moves on only after `save` returned, and a round whose quorum or rule is not satisfied changes
    nothing.
    """

    def __init__(
        self,
        job: Job,
        *,
        tell: Callable[[Event], None],
        save: Save,
        state: GlobalState | None,
        simulated: bool = False,
    ) -> None:
        self.job = job
        self.state = state
        self._simulated = simulated
        self._tell = tell
        self._save = save
        self._teller = Teller(tell, job.privacy)
        self._voided = 0

    def open(self, number: int, *, asked: int) -> None:
        """A round begins."""
        self._tell(RoundStarted(round=number, rounds=self.job.rounds, asked=asked))

    def void(self, number: int, cause: Exhausted, *, clock: float | None = None) -> None:
        """A round in which nobody could be asked, because too few sites were connected until its deadline.

        Raises:
            Exhausted: E501, as `close`.
        """
        self.open(number, asked=0)
        self._void(number, VoidRound(cause), clock)

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
            Exhausted: E501 or E502 after three rounds in a row that released nothing, or if no round of the job did.
            Misconfigured: E130 from a simulated site; the round releases nothing.
        """
        if self.state is None:
            raise RuntimeError("a round was closed before there was a model")
        try:
            closed = step(self.state)
        except VoidRound as void:
            self._refuse_no_promise(number, void)
            self._void(number, void, clock)
            return None
        self._refuse_no_promise(number, closed)
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

    def _void(self, number: int, void: VoidRound, clock: float | None) -> None:
        self._teller.voided(number, void, clock=clock)
        self._voided += 1
        if self._voided == VOID_LIMIT or self._voided == number == self.job.rounds:
            rounds = "the only round" if self._voided == 1 else f"{self._voided} rounds in a row"
            raise Exhausted(
                void.cause.code,
                f"{rounds} released nothing{'; the last one' if self._voided > 1 else ''}: {void.cause.message}",
                hint=void.cause.hint or "the rejected sites and their reasons are in the report",
            ) from void

    def _refuse_no_promise(self, number: int, outcome: Closed | VoidRound) -> None:
        sites = [rejection.site for rejection in outcome.rejections if rejection.code == NO_PROMISE]
        if sites and self._simulated:
            self._teller.spent(number, outcome.replies)
            others = f" and {len(sites) - 1} more" if len(sites) > 1 else ""
            raise Misconfigured(
                NO_PROMISE,
                f"{CODES[NO_PROMISE]}: found in round {number} on the records of {sites[0]}{others}",
                place="model",
                hint="compute nothing over the first dimension, which counts records, whatever the records are",
            )
