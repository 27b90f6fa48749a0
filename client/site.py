"""Which site this is: read from the node's own configuration, which its operator controls and the server cannot set."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from flwr.app import Context

from hedgerow.errors import Misconfigured
from hedgerow.privacy import OsRandomness, Randomness, SimulatedRandomness
from hedgerow.settings import Scalar
from hedgerow.store import stated_store, store_folder
from hedgerow.task import Site

__all__ = ["SiteSetup", "site_setup"]

N = TypeVar("N", int, float)

STREAM = 4  # the clients' part of a simulation's seed; the split, the attackers and the cohort have their own


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSetup:
    """A site and what its operator decided.

    `store` is the folder of its ledger. `dataset` names the records that the ledger protects, and `epsilon_limit` what
    they may lose over all jobs; without it a job's own ε is the limit. `approved_job` is the digest of the only job
    that the site takes part in; empty, it takes part in any. `seed` is set by simulation engines only.
    """

    site: Site
    store: Path
    dataset: str
    epsilon_limit: float | None
    approved_job: str
    seed: int | None

    def randomness(self, round_number: int) -> Randomness:
        """The operating system's generator, except in a simulation, where each site and round has its own stream."""
        if self.seed is None:
            return OsRandomness()
        return SimulatedRandomness(self.seed, STREAM, self.site.index, round_number)


def site_setup(context: Context) -> SiteSetup:
    """Read `partition-id`, `num-partitions`, `site-name`, `site-store`, `dataset`, `epsilon-limit`, `approved-job`.

    `simulation-seed` makes the site a simulated one; every report then says that its noise is not a DP release.

    Raises:
        Misconfigured: E102 if a number is not one, E103 if it is out of range.
    """
    config: Mapping[str, Scalar] = context.node_config
    index, count = _number(config, "partition-id", int, 0), _number(config, "num-partitions", int, 1)
    if index is None or count is None or not 0 <= index < count:
        raise Misconfigured("E103", f"partition-id is {index} of {count} partitions", place="node configuration")
    name = str(config.get("site-name", f"site-{index + 1:0{max(2, len(str(count)))}d}"))
    limit, seed = _number(config, "epsilon-limit", float, None), _number(config, "simulation-seed", int, None)
    if limit is not None and not 0 < limit < math.inf:
        raise Misconfigured("E103", f"epsilon-limit is {limit}, but must be positive", place="node configuration")
    return SiteSetup(
        site=Site(name=name, index=index, count=count, config=dict(config)),
        store=Path(str(config["site-store"])) if "site-store" in config else _home(name),
        dataset=str(config.get("dataset", name)),
        epsilon_limit=limit,
        approved_job=str(config.get("approved-job", "")).strip().lower(),
        seed=seed,
    )


def _home(name: str) -> Path:
    return stated_store() or store_folder() / "sites" / name


def _number(config: Mapping[str, Scalar], key: str, kind: Callable[[Scalar], N], default: N | None) -> N | None:
    """A whole number or a number of the node's configuration, where Flower may hand over text."""
    if key not in config:
        return default
    try:
        return kind(config[key])
    except ValueError:
        raise Misconfigured("E102", f"{key} is not a number", place="node configuration") from None
