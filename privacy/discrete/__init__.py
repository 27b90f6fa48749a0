"""Noise in whole numbers, for sums that nobody sees the parts of: samplers, the grid, encoding, and the price.

Floating-point noise has gaps between its numbers that can give away what it was added to; whole numbers have none, and
they are what secure aggregation adds. `plan_grid` chooses the grid, `encode` and `decode` use it. Pure numpy.

>>> grid = plan_grid(dimension=1000, clients=100, honest=80, clip=1.0, epsilon=8.0, delta=1e-5, steps=10)
>>> grid.bits, round(grid.noise_multiplier, 2), round(grid.std(100), 2)
(16, 2.02, 2.26)
"""

from hedgerow.privacy.discrete.divergence import discrete_gaussian_rdp, renyi_to_epsilon, skellam_rdp
from hedgerow.privacy.discrete.encoding import Encoded, decode, encode
from hedgerow.privacy.discrete.gaussian import discrete_gaussian, discrete_gaussian_exact, discrete_gaussian_table
from hedgerow.privacy.discrete.grid import Grid, Law, Noise
from hedgerow.privacy.discrete.planning import Price, overflow_bound, plan_grid
from hedgerow.privacy.discrete.rotation import rotate, rotated_size, unrotate
from hedgerow.privacy.discrete.skellam import skellam, skellam_table

__all__ = [
    "Encoded",
    "Grid",
    "Law",
    "Noise",
    "Price",
    "decode",
    "discrete_gaussian",
    "discrete_gaussian_exact",
    "discrete_gaussian_rdp",
    "discrete_gaussian_table",
    "encode",
    "overflow_bound",
    "plan_grid",
    "renyi_to_epsilon",
    "rotate",
    "rotated_size",
    "skellam",
    "skellam_rdp",
    "skellam_table",
    "unrotate",
]
