"""Which site this is: read from the node's own configuration, which its operator controls and the server cannot set."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Context

from hedgerow.privacy import OsRandomness, Randomness, SimulatedRandomness
from hedgerow.settings import Scalar
from hedgerow.task import Site

__all__ = ["SiteSetup", "site_setup"]

STORE_VARIABLE = "HEDGEROW_STORE"
STREAM = 4  # the clients' part of a simulation's seed; the split, the attackers and the cohort have their own


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSetup:
    """A site and what its operator decided.

    `store` is the folder of its ledger. `dataset` names the records that the ledger protects, and `epsilon_limit` what
    they may lose over all jobs; without it a job's own ε is the limit. `seed` is set by simulation engines only.
    """

    site: Site
    store: Path
    dataset: str
    epsilon_limit: float | None
    seed: int | None

    def randomness(self, round_number: int) -> Randomness:
        """The operating system's generator, except in a simulation, where each site and round has its own stream."""
        if self.seed is None:
            return OsRandomness()
        return SimulatedRandomness(self.seed, STREAM, self.site.index, round_number)


def site_setup(context: Context) -> SiteSetup:
    """Read `partition-id`, `num-partitions`, `site-name`, `site-store`, `dataset` and `epsilon-limit`.

    `simulation-seed` makes the site a simulated one; every report then says that its noise is not a DP release.
    """
    config: Mapping[str, Scalar] = context.node_config
    index, count = int(config.get("partition-id", 0)), int(config.get("num-partitions", 1))
    name = str(config.get("site-name", f"site-{index + 1:0{len(str(count))}d}"))
    home = os.environ.get(STORE_VARIABLE) or str(Path.home() / ".hedgerow" / "sites" / name)
    limit, seed = config.get("epsilon-limit"), config.get("simulation-seed")
    return SiteSetup(
        site=Site(name=name, index=index, count=count, config=dict(config)),
        store=Path(str(config.get("site-store", home))),
        dataset=str(config.get("dataset", name)),
        epsilon_limit=None if limit is None else float(limit),
        seed=None if seed is None else int(seed),
    )
