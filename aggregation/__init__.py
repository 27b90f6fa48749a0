"""Robust aggregation: many updates become one, and nobody needs to be trusted for it.

Rules are values. They compose with `|`, and `aggregate` applies one to the rows `(n, d)` of a round:

>>> import numpy as np
>>> from hedgerow.aggregation import NNM, TrimmedMean, aggregate
>>> honest = np.array([[1.0, 2.0], [1.5, 2.0], [1.0, 2.5], [1.25, 2.25]])
>>> rows = np.vstack([honest, [-40.0, -80.0]])
>>> result = aggregate(rows, NNM(f=1) | TrimmedMean(f=1))
>>> result.vector.tolist()
[1.1875, 2.1875]
>>> dict(result.verdict.excluded)
{4: 'excluded by nearest-neighbour mixing'}

Each rule is also a plain function on numpy arrays and torch tensors: `trimmed_mean(X, f=2)`. A rule of your own is one
function and `register_rule`. Rows must be updates,
that is, differences to the current model. Loading this package needs numpy only.
"""

from hedgerow.aggregation.defences.divide_and_conquer import DnC
from hedgerow.aggregation.defences.fl_detector import FLDetector
from hedgerow.aggregation.defences.flame import Flame
from hedgerow.aggregation.defences.fltrust import FLTrust
from hedgerow.aggregation.defences.foolsgold import FoolsGold
from hedgerow.aggregation.defences.norm_bound import NormBound
from hedgerow.aggregation.defences.reputation import Reputation
from hedgerow.aggregation.defences.robust_learning_rate import RobustLearningRate
from hedgerow.aggregation.defences.sign_guard import SignGuard
from hedgerow.aggregation.groups import Groups
from hedgerow.aggregation.judge import aggregate
from hedgerow.aggregation.own_rule import register_rule
from hedgerow.aggregation.plain import (
    bulyan,
    centered_clipping,
    geometric_median,
    krum,
    mda,
    meamed,
    mean,
    median,
    monna,
    multi_krum,
    phocas,
    spectral,
    trimmed_mean,
)
from hedgerow.aggregation.plain_defences import (
    dnc,
    flame,
    fltrust,
    foolsgold,
    norm_bound,
    robust_learning_rate,
    sign_guard,
)
from hedgerow.aggregation.plain_steps import arc, bucketing, clip_norms, nnm
from hedgerow.aggregation.promises import COORDINATES, DISTANCES, Promise
from hedgerow.aggregation.registry import BEFORE, RULES, check_names, make_rule, minimum_rows, supports_weights
from hedgerow.aggregation.rule import Before, Rule
from hedgerow.aggregation.rules.around import MeaMed, Phocas
from hedgerow.aggregation.rules.averaging import Mean
from hedgerow.aggregation.rules.bulyan import Bulyan
from hedgerow.aggregation.rules.centered_clipping import CenteredClipping
from hedgerow.aggregation.rules.coordinatewise import Median, TrimmedMean
from hedgerow.aggregation.rules.geometric import GeometricMedian
from hedgerow.aggregation.rules.minimum_diameter import MDA
from hedgerow.aggregation.rules.monna import MoNNA
from hedgerow.aggregation.rules.selection import Krum, MultiKrum
from hedgerow.aggregation.rules.spectral import Spectral
from hedgerow.aggregation.steps.arc import ARC
from hedgerow.aggregation.steps.bucketing import Bucketing
from hedgerow.aggregation.steps.clipping import ClipNorms
from hedgerow.aggregation.steps.mixing import NNM
from hedgerow.aggregation.steps.rejecting import RejectLong
from hedgerow.aggregation.suspecting import Suspected, estimate_hostile
from hedgerow.aggregation.verdict import Aggregate, Verdict
from hedgerow.aggregation.wrapper import wanted

__all__ = [
    "ARC",
    "Aggregate",
    "BEFORE",
    "Before",
    "Bucketing",
    "Bulyan",
    "COORDINATES",
    "CenteredClipping",
    "ClipNorms",
    "DISTANCES",
    "DnC",
    "FLDetector",
    "FLTrust",
    "Flame",
    "FoolsGold",
    "GeometricMedian",
    "Groups",
    "Krum",
    "MDA",
    "MeaMed",
    "Mean",
    "Median",
    "MoNNA",
    "MultiKrum",
    "NNM",
    "NormBound",
    "Phocas",
    "Promise",
    "RULES",
    "RejectLong",
    "Reputation",
    "RobustLearningRate",
    "Rule",
    "SignGuard",
    "Spectral",
    "Suspected",
    "TrimmedMean",
    "Verdict",
    "aggregate",
    "arc",
    "bucketing",
    "bulyan",
    "centered_clipping",
    "check_names",
    "clip_norms",
    "dnc",
    "flame",
    "fltrust",
    "foolsgold",
    "estimate_hostile",
    "geometric_median",
    "krum",
    "make_rule",
    "mda",
    "meamed",
    "mean",
    "median",
    "minimum_rows",
    "monna",
    "multi_krum",
    "nnm",
    "norm_bound",
    "phocas",
    "register_rule",
    "robust_learning_rate",
    "sign_guard",
    "spectral",
    "supports_weights",
    "trimmed_mean",
    "wanted",
]
