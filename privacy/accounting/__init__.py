"""What a record's participation costs: events on one side, their price in ε on the other.

An event says what happened (`SampledGaussian`, `Gaussian`, `Laplace`, `Skellam`, `DiscreteGaussian`); `epsilon` prices
a list of events, `delta` the other way round, and `calibrate` finds the least noise for a price. Every accountant is
an upper bound on what was lost, for events chosen adaptively:

- `"pld"`: the privacy losses added up numerically (`pld.py`), at most 0.1 % above the truth. The default.
- `"rdp"`: Rényi differential privacy (Mironov, Talwar and Zhang, "Rényi differential privacy of the sampled Gaussian
  mechanism", arXiv 1908.10530, sec. 3.3), converted with Balle et al., arXiv 1905.09982, theorem 21: 7-19 % above.
- `"prv"`: Opacus's numerical composition (Gopi, Lee and Wutschitz, arXiv 2106.02848), within 0.02 of the truth and
  slower: a second opinion by other people's code.

The central-limit accountant ("gdp") is not offered: it reports less than the true ε. What is not known to be priced
right is refused (`ALLOWED`).

>>> steps = [SampledGaussian(q=0.01, noise_multiplier=1.0, steps=1000)]
>>> round(epsilon(steps, delta=1e-5), 2), round(epsilon(steps, delta=1e-5, accountant="rdp"), 2)
(1.83, 2.1)
>>> round(epsilon(steps, delta=1e-5, relation="replace_one"), 2)
2.84
>>> round(calibrate(epsilon=1.83, delta=1e-5, q=0.01, steps=1000), 2)
1.0
"""

from hedgerow.privacy.accounting.allowed import ALLOWED, Accountant, Relation
from hedgerow.privacy.accounting.calibration import calibrate
from hedgerow.privacy.accounting.events import DiscreteGaussian, Event, Gaussian, Laplace, SampledGaussian, Skellam
from hedgerow.privacy.accounting.price import delta, epsilon
from hedgerow.privacy.accounting.rdp import rdp_curve, rdp_epsilon

__all__ = [
    "ALLOWED",
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
    "rdp_curve",
    "rdp_epsilon",
]
