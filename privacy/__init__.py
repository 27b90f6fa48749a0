"""Differential privacy with a ledger: plans, noisy steps, accounting and what was spent.

Importing this loads neither torch nor Opacus: names are looked up when they are used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hedgerow.privacy.accounting import Accountant as Accountant
    from hedgerow.privacy.accounting import DiscreteGaussian as DiscreteGaussian
    from hedgerow.privacy.accounting import Event as Event
    from hedgerow.privacy.accounting import Gaussian as Gaussian
    from hedgerow.privacy.accounting import Laplace as Laplace
    from hedgerow.privacy.accounting import Relation as Relation
    from hedgerow.privacy.accounting import SampledGaussian as SampledGaussian
    from hedgerow.privacy.accounting import Skellam as Skellam
    from hedgerow.privacy.accounting import calibrate as calibrate
    from hedgerow.privacy.accounting import delta as delta
    from hedgerow.privacy.accounting import epsilon as epsilon
    from hedgerow.privacy.charge import Charge as Charge
    from hedgerow.privacy.ledger import Entry as Entry
    from hedgerow.privacy.ledger import Head as Head
    from hedgerow.privacy.ledger import Ledger as Ledger
    from hedgerow.privacy.ledger import Limit as Limit
    from hedgerow.privacy.ledger import Reservation as Reservation
    from hedgerow.privacy.ledger import Spent as Spent
    from hedgerow.privacy.ledger import State as State
    from hedgerow.privacy.private_model import check_private as check_private
    from hedgerow.privacy.private_model import make_private_model as make_private_model
    from hedgerow.privacy.randomness import OsRandomness as OsRandomness
    from hedgerow.privacy.randomness import Randomness as Randomness
    from hedgerow.privacy.randomness import SimulatedRandomness as SimulatedRandomness
    from hedgerow.privacy.randomness import torch_seeded as torch_seeded
    from hedgerow.privacy.record import RecordPlan as RecordPlan
    from hedgerow.privacy.record import plan_record_dp as plan_record_dp
    from hedgerow.privacy.record import private_steps as private_steps
    from hedgerow.privacy.site_level import SiteLevelPlan as SiteLevelPlan
    from hedgerow.privacy.site_level import clipped_sum as clipped_sum
    from hedgerow.privacy.site_level import next_clip as next_clip
    from hedgerow.privacy.site_level import noised_mean as noised_mean
    from hedgerow.privacy.site_level import plan_site_dp as plan_site_dp
    from hedgerow.privacy.siteplan import site_level_plan as site_level_plan
    from hedgerow.privacy.siteplan import site_plan as site_plan

_HOMES = {
    "accounting": (
        "Accountant",
        "DiscreteGaussian",
        "Event",
        "Gaussian",
        "Laplace",
        "Relation",
        "SampledGaussian",
        "Skellam",
        "calibrate",
        "delta",
        "epsilon",
    ),
    "charge": ("Charge",),
    "ledger": ("Entry", "Head", "Ledger", "Limit", "Reservation", "Spent", "State"),
    "private_model": ("check_private", "make_private_model"),
    "randomness": ("OsRandomness", "Randomness", "SimulatedRandomness", "torch_seeded"),
    "record": ("RecordPlan", "plan_record_dp", "private_steps"),
    "site_level": ("SiteLevelPlan", "clipped_sum", "next_clip", "noised_mean", "plan_site_dp"),
    "siteplan": ("site_level_plan", "site_plan"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Accountant",
    "Charge",
    "DiscreteGaussian",
    "Entry",
    "Event",
    "Gaussian",
    "Head",
    "Laplace",
    "Ledger",
    "Limit",
    "OsRandomness",
    "Randomness",
    "RecordPlan",
    "Relation",
    "Reservation",
    "SampledGaussian",
    "SimulatedRandomness",
    "SiteLevelPlan",
    "Skellam",
    "Spent",
    "State",
    "calibrate",
    "check_private",
    "clipped_sum",
    "delta",
    "epsilon",
    "make_private_model",
    "next_clip",
    "noised_mean",
    "plan_record_dp",
    "plan_site_dp",
    "private_steps",
    "site_level_plan",
    "site_plan",
    "torch_seeded",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
