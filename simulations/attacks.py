"""Attacks of hostile sites, for simulation only: nothing that is deployed imports this module.

Each is blind: an attacker knows its own data and the model it was sent, no honest update. On raw honest rows `H` (n, d)
the update attacks are pure functions too.

| attack | what the site does | `strength` | default |
|---|---|---|---|
| `sign-flip` | answers with minus its honest update, scaled | factor | 1 |
| `gaussian` | answers with noise of that standard deviation per coordinate | standard deviation | 1 |
| `label-flip` | trains on labels k-1-y (Fang et al., USENIX Security 2020, sec. 4) | share of records flipped | 1 |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message
from flwr.clientapp import ClientApp

from hedgerow.client import HedgerowClientApp, client_app
from hedgerow.errors import Misconfigured
from hedgerow.scenario import ATTACKS, Scenario
from hedgerow.task import Data, Site, Split, Task

__all__ = [
    "Attack",
    "attacker_indices",
    "flipped_labels",
    "gaussian",
    "hostile",
    "poisoned_update",
    "sign_flip",
]

ATTACKERS_STREAM, ATTACK_STREAM = 2, 5  # parts of a simulation's seed
DEFAULT_STRENGTH = {"sign-flip": 1.0, "gaussian": 1.0, "label-flip": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """An attack and its strength, written `sign-flip:4.0`.

    >>> Attack.parse("sign-flip:4")
    Attack(name='sign-flip', strength=4.0)
    """

    name: str
    strength: float

    @classmethod
    def parse(cls, text: str) -> Attack:
        """Read `NAME` or `NAME:STRENGTH`.

        Raises:
            Misconfigured: E103 for an unknown name or a strength that is not a positive number.
        """
        name, _, strength = text.partition(":")
        if name not in DEFAULT_STRENGTH:
            raise Misconfigured("E103", f"unknown attack '{name}'", hint="the attacks are " + ", ".join(ATTACKS[1:]))
        try:
            value = float(strength) if strength else DEFAULT_STRENGTH[name]
        except ValueError:
            value = -1.0
        if not 0 < value < float("inf") or (name == "label-flip" and value > 1):
            raise Misconfigured("E103", f"'{text}': the strength must be a positive number (label-flip: at most 1)")
        return cls(name=name, strength=value)

    @classmethod
    def of(cls, scenario: Scenario) -> Attack | None:
        if scenario.attack == "none":
            return None
        return cls.parse(scenario.attack if scenario.strength is None else f"{scenario.attack}:{scenario.strength}")

    def __str__(self) -> str:
        return f"{self.name}:{self.strength}"


def attacker_indices(scenario: Scenario) -> frozenset[int]:
    """Which sites attack: drawn by the scenario's seed."""
    rng = np.random.default_rng(np.random.SeedSequence(scenario.seed, spawn_key=(ATTACKERS_STREAM,)))
    return frozenset(int(index) for index in rng.choice(scenario.sites, scenario.attackers, replace=False))


def sign_flip(honest: np.ndarray, *, strength: float = 1.0) -> np.ndarray:
    """Minus `strength` times the mean of the rows (n, d) → (d,); a blind attacker has one row, its own.

    >>> sign_flip(np.array([[1.0, -2.0]]), strength=4).tolist()
    [-4.0, 8.0]
    """
    flipped: np.ndarray = -strength * np.asarray(honest).mean(axis=0)
    return flipped


def gaussian(honest: np.ndarray, *, std: float = 1.0, rng: np.random.Generator) -> np.ndarray:
    """Noise of standard deviation `std` in the shape and dtype of one row."""
    row = np.asarray(honest)[0]
    noise: np.ndarray = (std * rng.standard_normal(row.shape)).astype(row.dtype)
    return noise


def flipped_labels(y: np.ndarray, *, classes: int, share: float, seed: int, site: int) -> np.ndarray:
    """Labels (n,) of which a `share`, drawn for the site, says k-1-y."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(ATTACK_STREAM, site)))
    lies = rng.random(len(y)) < share
    flipped: np.ndarray = np.where(lies, classes - 1 - y, y)
    return flipped


def poisoned_update(update: np.ndarray, attack: Attack, *, seed: int, site: int, round: int) -> np.ndarray:
    """What a hostile site answers in place of its honest update (d,), by one of the update attacks."""
    return _change(update[None], attack, _attack_rng(seed, site, round)).astype(update.dtype)


def hostile(app: ClientApp, attack: str, *, seed: int) -> Callable[[Message, Context], Message]:
    """The ClientApp as a hostile site runs it.

    Update attacks work on any ClientApp that answers with an update or with full parameters; `label-flip` needs a
    Hedgerow ClientApp, whose data it can reach.

    Raises:
        Misconfigured: E103 unknown attack, E105 label-flip on another ClientApp.
    """
    parsed = Attack.parse(attack)
    if parsed.name == "label-flip":
        if not isinstance(app, HedgerowClientApp):
            raise Misconfigured("E105", "label-flip needs the data of a Hedgerow task; use sign-flip or gaussian here")
        return client_app(_FlippedTask(app.task, parsed.strength, seed))

    def answer(message: Message, context: Context) -> Message:
        return _poisoned(app(message, context), message, context, parsed, seed)

    return answer


def _poisoned(reply: Message, request: Message, context: Context, attack: Attack, seed: int) -> Message:
    if reply.has_error() or not reply.content.array_records:
        return reply
    site = int(context.node_config.get("partition-id", context.node_id))
    number = request.content.config_records.get("config", ConfigRecord()).get("server-round", 0)
    rng = _attack_rng(seed, site, number if isinstance(number, int) else 0)
    sent = next(iter(request.content.array_records.values()), ArrayRecord())
    for name, record in reply.content.array_records.items():
        bad = {}
        for key, array in record.items():
            value = array.numpy()
            origin = sent[key].numpy() if name != "update" and key in sent else np.zeros_like(value)
            if value.dtype.kind != "f":
                bad[key] = array
                continue
            change = _change((value - origin)[None], attack, rng)
            bad[key] = Array(np.asarray(origin + change, value.dtype))
        reply.content[name] = ArrayRecord(bad)
    return reply


def _change(own: np.ndarray, attack: Attack, rng: np.random.Generator) -> np.ndarray:
    if attack.name == "sign-flip":
        return sign_flip(own, strength=attack.strength)
    return gaussian(own, std=attack.strength, rng=rng)


def _attack_rng(seed: int, site: int, round: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(ATTACK_STREAM, site, round)))


class _FlippedTask(Task):
    """A task whose training labels lie: k-1-y for a share of the records."""

    def __init__(self, honest: Task, share: float, seed: int) -> None:
        self._honest = honest
        self._share = share
        self._seed = seed
        self.name = honest.name
        self.labels = honest.labels

    def model(self) -> torch.nn.Module:
        return self._honest.model()

    def data(self, site: Site) -> Data:
        data = self._honest.data(site)
        classes = len(self.labels) or int(data.train.y.max(initial=0)) + 1
        y = flipped_labels(data.train.y, classes=classes, share=self._share, seed=self._seed, site=site.index)
        return Data(Split(data.train.x, y), data.test)

    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self._honest.loss(logits, y)

    def metrics(self, logits: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        return self._honest.metrics(logits, y)
