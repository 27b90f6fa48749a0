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

Each rule is also a plain function on numpy arrays and torch tensors: `trimmed_mean(X, f=2)`. Rows must be updates,
that is, differences to the current model. Loading this package needs numpy only.
"""

from hedgerow.aggregation.averaging import Mean
from hedgerow.aggregation.clipping import ClipNorms
from hedgerow.aggregation.coordinatewise import Median, TrimmedMean
from hedgerow.aggregation.geometric import GeometricMedian
from hedgerow.aggregation.judge import aggregate
from hedgerow.aggregation.mixing import NNM
from hedgerow.aggregation.plain import (
    clip_norms,
    geometric_median,
    krum,
    mean,
    median,
    multi_krum,
    nnm,
    trimmed_mean,
)
from hedgerow.aggregation.registry import BEFORE, RULES, make_rule, minimum_rows, supports_weights
from hedgerow.aggregation.rule import Before, Rule
from hedgerow.aggregation.selection import Krum, MultiKrum
from hedgerow.aggregation.verdict import Aggregate, Verdict

__all__ = [
    "BEFORE",
    "NNM",
    "RULES",
    "Aggregate",
    "Before",
    "ClipNorms",
    "GeometricMedian",
    "Krum",
    "Mean",
    "Median",
    "MultiKrum",
    "Rule",
    "TrimmedMean",
    "Verdict",
    "aggregate",
    "clip_norms",
    "geometric_median",
    "krum",
    "make_rule",
    "mean",
    "median",
    "minimum_rows",
    "multi_krum",
    "nnm",
    "supports_weights",
    "trimmed_mean",
]
