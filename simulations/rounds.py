"""The rounds of a simulated run, in this process or on Ray; `locally.py` has those on real servers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from hedgerow.client import client_app
from hedgerow.flowercompat import quiet_flower
from hedgerow.server import server_app
from hedgerow.settings import Scalar
from hedgerow.simulations.attacks import attackers_of
from hedgerow.simulations.attacks.hostile_client import on_poisoned_records
from hedgerow.simulations.attacks.infiltrated import infiltrated
from hedgerow.simulations.attacks.reaching import adversary_of, model_before, watched
from hedgerow.simulations.localgrid import LocalNode, run_in_process
from hedgerow.simulations.sites import site_settings
from hedgerow.simulations.stage import Stage

__all__ = ["in_process_rounds", "ray_rounds"]


class _SimulatedClientApp(ClientApp):
    """One ClientApp for all simulated nodes: gives each its site's settings, and hostile ones poisoned records."""

    def __init__(
        self,
        honest: ClientApp,
        *,
        settings: Sequence[Mapping[str, Scalar]],
        run_config: Mapping[str, Scalar],
        hostile: Mapping[int, Callable[[Message, Context], Message]],
    ) -> None:
        super().__init__()
        self._honest = honest
        self._settings = settings
        self._run_config = run_config
        self._hostile = hostile

    def __call__(self, message: Message, context: Context) -> Message:
        index = int(context.node_config["partition-id"])
        own = Context(  # Flower refuses a context whose configuration changed
            run_id=context.run_id,
            node_id=context.node_id,
            node_config={**context.node_config, **self._settings[index]},
            state=context.state,
            run_config={**context.run_config, **self._run_config},
        )
        torch.set_num_threads(1)  # a worker of Ray: the same bytes as in this process
        return self._hostile.get(index, self._honest)(message, own)


def in_process_rounds(stage: Stage) -> None:
    """Run the rounds in this process."""
    nodes = [
        LocalNode(node_id=site.index + 1, config={"partition-id": site.index, "num-partitions": site.count})
        for site in stage.sites
    ]
    server, client = _apps(stage)
    with quiet_flower(logging.ERROR):
        run_in_process(server, client, nodes)


def ray_rounds(stage: Stage) -> None:
    """Run the rounds on Ray.

    Raises:
        Misconfigured: E107 without the extra.
    """
    from hedgerow.simulations.ray import run_on_ray

    server, client = _apps(stage)
    with quiet_flower(logging.ERROR):
        run_on_ray(
            server,
            client,
            len(stage.sites),
            address=stage.address,
            one_machine=stage.folder.job.privacy.unit == "record",  # the sites' ledger is one file
        )


def _apps(stage: Stage) -> tuple[ServerApp, ClientApp]:
    honest, attackers = client_app(stage.task), attackers_of(stage.scenario)
    client = _SimulatedClientApp(
        honest,
        settings=[site_settings(site, stage.folder, stage.scenario) for site in stage.sites],
        run_config=stage.folder.job.flat(),
        hostile={
            index: on_poisoned_records(honest, attacker, seed=stage.scenario.seed)
            for index, attacker in attackers.items()
        },
    )
    server = server_app(watched(stage.task, stage.scenario), folder=stage.folder, listeners=stage.listeners)
    if not attackers:
        return server, client
    adversary = adversary_of(stage.folder.job, stage.scenario)
    sites = {site.name: site.index for site in stage.sites}
    return infiltrated(server, adversary, sites, model=model_before(stage.folder)), client
