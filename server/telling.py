"""A round's outcome as events: what closed, what was voided, what the sites say they have spent."""

from collections.abc import Callable, Iterable, Mapping

from hedgerow.events import BudgetPlanned, BudgetsSpent, Event, RoundClosed, RoundVoided
from hedgerow.job import Privacy
from hedgerow.server.round import Closed, VoidRound
from hedgerow.wire import Attestation, Reply

__all__ = ["Teller"]


class Teller:
    """Tells a round's outcome. A site's plan is told once, its spending every round.

    What a site says about its own budget is its word: the coordinator cannot verify it, and the report says so.
    """

    def __init__(self, tell: Callable[[Event], None], privacy: Privacy) -> None:
        self._tell = tell
        self._privacy = privacy
        self._planned: set[str] = set()

    def spent(self, number: int, replies: Iterable[Reply]) -> None:
        """What these sites attest. A site has spent a round's budget whatever becomes of the round."""
        attested = {reply.site: (reply, reply.attestation) for reply in replies if reply.attestation is not None}
        for reply, attestation in attested.values():
            self._plan(reply, attestation)
        if attested:
            spent = {site: attestation.spent_epsilon for site, (_, attestation) in attested.items()}
            self._tell(BudgetsSpent(round=number, epsilon=spent))

    def voided(self, number: int, void: VoidRound, *, clock: float | None = None) -> None:
        self.spent(number, void.replies)
        self._tell(
            RoundVoided(
                round=number,
                code=void.cause.code,
                reason=void.cause.message,
                rejected=[rejection.record() for rejection in void.rejections],
                clock=clock,
            )
        )

    def closed(
        self,
        number: int,
        closed: Closed,
        *,
        seconds: Mapping[str, float],
        bytes_down: int,
        bytes_up: int,
        model_sha256: str,
        clock: float | None = None,
    ) -> None:
        self.spent(number, closed.replies)
        self._tell(
            RoundClosed(
                round=number,
                accepted=closed.accepted,
                rejected=[rejection.record() for rejection in closed.rejections],
                norms=closed.norms,
                weights=closed.weights,
                scores=closed.scores,
                step_norm=closed.step_norm,
                seconds=seconds,
                bytes_down=bytes_down,
                bytes_up=bytes_up,
                model_sha256=model_sha256,
                suspects=closed.suspects,
                clip=closed.clip,
                within=closed.within,
                clock=clock,
            )
        )

    def _plan(self, reply: Reply, attested: Attestation) -> None:
        if reply.site not in self._planned:
            self._planned.add(reply.site)
            self._tell(
                BudgetPlanned(
                    site=reply.site,
                    epsilon=attested.planned_epsilon,
                    limit=attested.limit,
                    delta=attested.delta,
                    noise_multiplier=attested.noise_multiplier,
                    sampling_rate=attested.sampling_rate,
                    steps=attested.steps,
                    clip=attested.clip,
                    accountant=self._privacy.accountant,
                    unit=self._privacy.unit,
                    relation=f"add or remove one {self._privacy.unit}",
                    randomness=reply.randomness,
                )
            )
