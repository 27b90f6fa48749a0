"""Attacks of hostile sites, for simulation only: nothing that is deployed imports this package.

On the honest updates `H` (n, d) of a round the attacks are pure functions → (d,), by name in `KINDS` with the adversary
that each needs; docs/attacks.md has them all. A further one is a function and a decorator, `register_attack` for one
that answers with other updates, `register_poison` for one that trains on other records.

>>> import numpy as np
>>> alie(np.array([[1.0, 0.0], [3.0, 0.0]]), z=1.0).round(3).tolist()
[0.586, 0.0]
>>> Attack.parse("ipm:0.2").kind.sees
'honest'
"""

import importlib
from typing import TYPE_CHECKING

from hedgerow.simulations.attacks.adversary import Adversary, poisoned_update
from hedgerow.simulations.attacks.attack import Attack, Attacker, attacker_indices, attackers_of
from hedgerow.simulations.attacks.backdoors import masked, replacement
from hedgerow.simulations.attacks.blind import drift, free_rider, gaussian, scale, sign_flip
from hedgerow.simulations.attacks.fang import fang
from hedgerow.simulations.attacks.farthest import min_max, min_sum
from hedgerow.simulations.attacks.features import noisy
from hedgerow.simulations.attacks.inner_product import ipm
from hedgerow.simulations.attacks.labels import flipped_labels, least_probable, renamed
from hedgerow.simulations.attacks.little import alie, largest_z
from hedgerow.simulations.attacks.mimic import mimic
from hedgerow.simulations.attacks.registry import KINDS, Kind, Parameter, kind_of, register_attack, register_poison
from hedgerow.simulations.attacks.scene import RecordScene, Scene
from hedgerow.simulations.attacks.searched import deviation, search
from hedgerow.simulations.attacks.sybil import sybil
from hedgerow.simulations.attacks.trigger import Trigger

if TYPE_CHECKING:
    from hedgerow.simulations.attacks.hostile_client import hostile as hostile

__all__ = [
    "KINDS",
    "Adversary",
    "Attack",
    "Attacker",
    "Kind",
    "Parameter",
    "RecordScene",
    "Scene",
    "Trigger",
    "alie",
    "attacker_indices",
    "attackers_of",
    "deviation",
    "drift",
    "fang",
    "flipped_labels",
    "free_rider",
    "gaussian",
    "hostile",
    "ipm",
    "kind_of",
    "largest_z",
    "least_probable",
    "masked",
    "mimic",
    "min_max",
    "min_sum",
    "noisy",
    "poisoned_update",
    "register_attack",
    "register_poison",
    "renamed",
    "replacement",
    "scale",
    "search",
    "sign_flip",
    "sybil",
]


def __getattr__(name: str) -> object:
    if name == "hostile":  # it needs torch and Flower, the attacks themselves do not
        return importlib.import_module("hedgerow.simulations.attacks.hostile_client").hostile
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
