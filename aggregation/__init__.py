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

from hedgerow.aggregation.arc import ARC
from hedgerow.aggregation.around import MeaMed, Phocas
from hedgerow.aggregation.averaging import Mean
from hedgerow.aggregation.bucketing import Bucketing
from hedgerow.aggregation.bulyan import Bulyan
from hedgerow.aggregation.centered_clipping import CenteredClipping
from hedgerow.aggregation.clipping import ClipNorms
from hedgerow.aggregation.coordinatewise import Median, TrimmedMean
from hedgerow.aggregation.divide_and_conquer import DnC
from hedgerow.aggregation.fl_detector import FLDetector
from hedgerow.aggregation.flame import Flame
from hedgerow.aggregation.fltrust import FLTrust
from hedgerow.aggregation.foolsgold import FoolsGold
from hedgerow.aggregation.geometric import GeometricMedian
from hedgerow.aggregation.groups import Groups
from hedgerow.aggregation.judge import aggregate
from hedgerow.aggregation.minimum_diameter import MDA
from hedgerow.aggregation.mixing import NNM
from hedgerow.aggregation.monna import MoNNA
from hedgerow.aggregation.norm_bound import NormBound
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
from hedgerow.aggregation.rejecting import RejectLong
from hedgerow.aggregation.reputation import Reputation
from hedgerow.aggregation.robust_learning_rate import RobustLearningRate
from hedgerow.aggregation.rule import Before, Rule
from hedgerow.aggregation.selection import Krum, MultiKrum
from hedgerow.aggregation.sign_guard import SignGuard
from hedgerow.aggregation.spectral import Spectral
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
