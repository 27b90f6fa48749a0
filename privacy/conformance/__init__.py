"""Tests of a running mechanism from what it releases: is the noise there, as large as claimed, and new every time.

A bug in a privacy mechanism leaves no trace in the accuracy of a model. It does leave one in the released numbers: half
of the noise is found in a single release, noise that is 5 % short in nine thousand numbers. Pure numpy.

>>> import numpy as np
>>> rng = np.random.default_rng(7)
>>> halved = rng.normal(0.0, 0.5, (1, 200))
>>> print(conformance(halved, claim=gaussian_noise(1.0))[0].meaning)
the noise is 0.4411 times as large as claimed
"""

from hedgerow.privacy.conformance.finding import Finding
from hedgerow.privacy.conformance.noise import Claim, gaussian_noise, integer_noise
from hedgerow.privacy.conformance.suite import Batches, conformance

__all__ = ["Batches", "Claim", "Finding", "conformance", "gaussian_noise", "integer_noise"]
