"""How much noise ends up in the models: for one factorisation, and as the number that choosing one minimises."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hedgerow.privacy.correlated.sensitivity import Participation, worst_columns, worst_columns_gradient
from hedgerow.privacy.correlated.series import correlation, reciprocal
from hedgerow.privacy.correlated.workload import Workload

__all__ = ["Error", "Objective", "error_of", "log_loss"]

Floats = NDArray[np.float64]

Objective = Literal["mean", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """The noise in each coordinate of the models, as a standard deviation, in units of clip × learning rate.

    `rms` is the root of the mean variance over all rounds, `max` that of the noisiest model, `last` of the final one.
    Without changing rates the final model is the noisiest.
    """

    rms: float
    max: float
    last: float

    def times(self, factor: float) -> "Error":
        """The same with `factor` times the noise."""
        return Error(rms=self.rms * factor, max=self.max * factor, last=self.last * factor)


def error_of(coefficients: Floats, workload: Workload) -> Error:
    """The error of A C⁻¹ z for independent z of variance 1, with C's first column `(rounds,)` or shorter.

    >>> error_of(np.array([1.0]), Workload(rounds=100)).last  # a hundred independent draws in the last sum
    10.0
    """
    noise = reciprocal(coefficients, workload.rounds)
    variances = workload.squared_errors(workload.decoder(noise))
    return Error(
        rms=math.sqrt(float(variances.mean())),
        max=math.sqrt(float(variances.max())),
        last=math.sqrt(float(variances[-1])),
    )


def log_loss(
    coefficients: Floats, participation: Participation, workload: Workload, objective: Objective
) -> tuple[float, Floats]:
    """log(sensitivity² × error²) of C's first column `(rounds,)`, and its gradient, `(rounds,)`.

    This is the variance at a fixed guarantee, up to a constant. Its value means something only where `sensitivity`
    knows the answer. Source: McKenna, "Scaling up the banded matrix factorization mechanism for differentially private
    ML", arXiv 2405.15913, sec. 3. Cost: O(n log n), with rates O(n²).
    """
    n = workload.rounds
    columns = worst_columns(coefficients, participation)
    squared_sensitivity = float(columns @ columns)
    noise = reciprocal(coefficients, n)
    decoder = workload.decoder(noise)
    weights = np.full(n, 1.0 / n)
    if objective == "last":
        weights = np.zeros(n)
        weights[-1] = 1.0
    squared_error = float(weights @ workload.squared_errors(decoder))
    by_decoder = workload.squared_error_gradient(decoder, weights)
    by_coefficients = -correlation(decoder, correlation(noise, by_decoder))
    gradient = worst_columns_gradient(columns, participation) / squared_sensitivity + by_coefficients / squared_error
    return math.log(squared_sensitivity) + math.log(squared_error), gradient
