"""Flower's own simulation on Ray, on this machine or on an existing cluster."""

from __future__ import annotations

import importlib.util
import os
import warnings

from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from hedgerow.errors import Misconfigured

__all__ = ["run_on_ray"]


def run_on_ray(server_app: ServerApp, client_app: ClientApp, sites: int, *, address: str | None = None) -> None:
    """Run an app on Ray: `address` (or the environment variable RAY_ADDRESS) names a cluster, else Ray starts here.

    Without an address Ray is told "local": left alone it joins whatever cluster a stale file names, and hangs.

    Raises:
        Misconfigured: E107 without the extra. What the ServerApp raises is passed on.
    """
    if importlib.util.find_spec("ray") is None:
        raise Misconfigured("E107", "the engine 'ray' needs Ray", hint="pip install 'hedgerow[ray]'")
    from flwr.simulation import run_simulation

    cluster = address or os.environ.get("RAY_ADDRESS") or "local"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_simulation(
            server_app=server_app,
            client_app=client_app,
            num_supernodes=sites,
            backend_config={
                "init_args": {"address": cluster, "log_to_driver": False},
                "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            },
        )
