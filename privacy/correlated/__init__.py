"""Noise that is correlated across rounds: less of it in the models, at the same guarantee (DP-FTRL).

Each round's noise takes back part of the noise of the rounds before. Whoever sees all rounds still learns no more than
from one Gaussian release, and the sums that training forms carry several times less noise than with fresh noise in
every round. It needs a known order instead of secret sampling: how often somebody takes part, and how far apart.

>>> from hedgerow.privacy.correlated import plan
>>> job = plan(rounds=500, min_separation=50, max_participations=10, epsilon=4.0, delta=1e-5, kind="blt")
>>> round(job.gain, 1), job.mechanism.memory  # times less noise than independent noise; vectors to remember
(4.4, 4)
"""

from hedgerow.privacy.correlated.attendance import Attendance, cyclic_batch
from hedgerow.privacy.correlated.blt import Blt, best_blt
from hedgerow.privacy.correlated.gain import Error, error_of
from hedgerow.privacy.correlated.gaussian import gaussian_delta, gaussian_noise
from hedgerow.privacy.correlated.plan import Kind, Plan, plan, plan_of
from hedgerow.privacy.correlated.planfile import read_plan, write_plan
from hedgerow.privacy.correlated.release import record_level_release, site_level_release
from hedgerow.privacy.correlated.sensitivity import Participation, sensitivity
from hedgerow.privacy.correlated.stream import NoiseStream
from hedgerow.privacy.correlated.toeplitz import Banded, best_banded
from hedgerow.privacy.correlated.workload import Workload

__all__ = [
    "Attendance",
    "Banded",
    "Blt",
    "Error",
    "Kind",
    "NoiseStream",
    "Participation",
    "Plan",
    "Workload",
    "best_banded",
    "best_blt",
    "cyclic_batch",
    "error_of",
    "gaussian_delta",
    "gaussian_noise",
    "plan",
    "plan_of",
    "read_plan",
    "record_level_release",
    "sensitivity",
    "site_level_release",
    "write_plan",
]
