"""A hostile site's ClientApp: the honest one, on poisoned records, with another update in its answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message
from flwr.clientapp import ClientApp

from hedgerow.client import HedgerowClientApp, client_app
from hedgerow.errors import Misconfigured
from hedgerow.simulations.attacks.adversary import poisoned_update
from hedgerow.simulations.attacks.attack import Attacker
from hedgerow.simulations.attacks.poisoned import PoisonedTask, logits_of
from hedgerow.update import Layout

__all__ = ["hostile", "on_poisoned_records", "refuse_collusion"]

Answer = Callable[[Message, Context], Message]

REMEMBERED = "hedgerow-attack"  # the model that the site was sent before, in its Flower context


def hostile(app: ClientApp, attack: str, *, seed: int) -> Answer:
    """The ClientApp as a hostile site runs it by itself: what a site of real servers can do.

    `attack` may state the site's place among the attackers, `dba@0/2/10`. Attacks on updates work on any ClientApp that
    answers with an update or with full parameters; attacks on data need a Hedgerow ClientApp, to reach its task.

    Raises:
        Misconfigured: E103 unknown attack, E105 an attack on data on another ClientApp, or one that needs to see more
            than the site's own updates.
    """
    attacker = Attacker.parse(attack)
    refuse_collusion(attacker)
    train = on_poisoned_records(app, attacker, seed=seed)
    if attacker.attack.kind.change is None:
        return train

    def answer(message: Message, context: Context) -> Message:
        if message.metadata.message_type.partition(".")[0] != "train":
            return train(message, context)
        return _changed(train(message, context), message, context, attacker, seed)

    return answer


def refuse_collusion(attacker: Attacker) -> None:
    """Refuse an attack that a real site cannot run.

    Raises:
        Misconfigured: E105.
    """
    kind = attacker.attack.kind
    if kind.collude:
        raise Misconfigured(
            "E105",
            f"'{kind.name}' sees every honest update of a round, which no site of real servers does",
            place="attack",
            hint="take the engine cohort, in-process or ray, or an attack that is blind, such as sign-flip or badnets",
        )


def on_poisoned_records(app: ClientApp, attacker: Attacker, *, seed: int) -> Answer:
    """The ClientApp on what the attack makes of the site's records, in the rounds in which it acts; else as it is.

    Raises:
        Misconfigured: E105 if it is no Hedgerow ClientApp.
    """
    kind = attacker.attack.kind
    if kind.poison is None:
        return app
    if not isinstance(app, HedgerowClientApp):
        raise Misconfigured(
            "E105", f"{kind.name} needs the data of a Hedgerow task", hint="use sign-flip or gaussian here"
        )
    task = app.task
    every_site = _EverySite(attacker)
    still = None if kind.adapts else client_app(PoisonedTask(task, every_site, seed=seed))

    def answer(message: Message, context: Context) -> Message:
        if message.metadata.message_type.partition(".")[0] != "train" or not attacker.attack.acts(_round(message)):
            return app(message, context)
        if still is not None:
            return still(message, context)
        module = task.model()
        layout = Layout.of(module)
        sent = message.content.array_records["arrays"]
        layout.load(layout.join({name: sent[name].numpy() for name in layout.names}), module)
        return client_app(PoisonedTask(task, every_site, seed=seed, logits=logits_of(module)))(message, context)

    return answer


class _EverySite(dict[int, Attacker]):
    """Whichever site this is, it is the attacker: the ClientApp of one site does not know its index beforehand."""

    def __init__(self, attacker: Attacker) -> None:
        super().__init__()
        self._attacker = attacker

    def get(self, key: int, default: object = None) -> Attacker:
        return self._attacker


def _round(message: Message) -> int:
    number = message.content.config_records.get("config", ConfigRecord()).get("server-round", 0)
    return number if isinstance(number, int) else 0


def _changed(reply: Message, request: Message, context: Context, attacker: Attacker, seed: int) -> Message:
    """The reply with what the attack makes of its update, as one vector over its float arrays."""
    if reply.has_error() or not reply.content.array_records:
        return reply
    site = int(context.node_config.get("partition-id", context.node_id))
    sent = next(iter(request.content.array_records.values()), ArrayRecord())
    last = _remembered(sent, context)
    for name, record in reply.content.array_records.items():
        values = {key: array.numpy() for key, array in record.items()}
        origins = {
            key: sent[key].numpy() if name != "update" and key in sent else np.zeros_like(value)
            for key, value in values.items()
        }
        floats = [key for key, value in values.items() if value.dtype.kind == "f"]
        if not floats:
            continue
        flat = np.concatenate([np.ravel(values[key] - origins[key]) for key in floats])
        known = last if last is not None and len(last) == len(flat) else None
        moved = poisoned_update(flat, attacker, seed=seed, site=site, round=_round(request), last=known)
        start = 0
        for key in floats:
            size = values[key].size
            part = moved[start : start + size].reshape(values[key].shape)
            record[key] = Array(np.asarray(origins[key] + part, values[key].dtype))
            start += size
        reply.content[name] = record
    return reply


def _remembered(sent: ArrayRecord, context: Context) -> np.ndarray | None:
    """By how much the model moved since the site was last asked, and the model kept for the next time."""
    model = np.concatenate([array.numpy().ravel() for array in sent.values() if array.numpy().dtype.kind == "f"])
    before = context.state.array_records.get(REMEMBERED)
    context.state[REMEMBERED] = ArrayRecord({"model": Array(np.asarray(model, np.float32))})
    return None if before is None else model - before["model"].numpy()
