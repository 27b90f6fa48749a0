"""Flower's own simulation on Ray: on this machine, or on a cluster that exists already (docs/clusters.md)."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import re
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from hedgerow.errors import Misconfigured

if TYPE_CHECKING:
    from ray import ObjectRef

__all__ = ["run_on_ray"]

HERE = "local"  # Ray's word for a cluster of its own, which ends with the run
ANY = "auto"  # Ray's word for the cluster that this machine belongs to
CLIENT = "ray://"  # through a Ray client server, from outside the cluster
HOST_PORT = re.compile(r"(?P<host>[^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")
PATIENCE = 5.0  # seconds within which a live cluster says that it is there


def run_on_ray(
    server_app: ServerApp,
    client_app: ClientApp,
    sites: int,
    *,
    address: str | None = None,
    one_machine: bool = False,
) -> None:
    """Run an app on Ray: `address` (or the environment variable RAY_ADDRESS) names a cluster, else Ray starts here.

    `address` is `HOST:PORT` of the cluster's head, `ray://HOST:PORT` of its client server, or one of Ray's own words
    `local` and `auto`. Without one Ray is told "local": left alone it joins whatever cluster a stale file names, and
    hangs. A cluster that was there before stays as it was. The ServerApp runs here; the ClientApp, with the task that
    it holds, is copied to each worker once. With `one_machine` a cluster with workers elsewhere is refused: the sites'
    ledgers are files in WAL mode, which processes on different machines must not share.

    Raises:
        Misconfigured: E107 without the extra, E103 for an address of another form, E116 if no cluster answers there
            or it cannot be used, E105 if this process is at another cluster, E106 as `one_machine` says.
            What the ServerApp raises is passed on.
    """
    if importlib.util.find_spec("ray") is None:
        raise Misconfigured("E107", "the engine 'ray' needs Ray", hint="pip install 'hedgerow[ray]'")
    from flwr.simulation import run_simulation

    cluster = _address(address)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _attached(cluster, chosen=address is not None, one_machine=one_machine):
            run_simulation(
                server_app=server_app,
                client_app=SentOnce(client_app),
                num_supernodes=sites,
                backend_config={
                    "init_args": {"address": cluster, "log_to_driver": False},
                    "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
                },
            )


class SentOnce(ClientApp):
    """A ClientApp that is copied to a worker once, not with every message: it is pickled as a reference to Ray's store.

    Flower sends the app along with each message, and ours holds the task, so perhaps the records of all sites. What the
    app keeps between messages (a module, open ledgers) is kept too, as in this process.
    """

    def __init__(self, app: ClientApp) -> None:
        import ray

        super().__init__()
        self._app = app
        self._stored: ObjectRef[ClientApp] = ray.put(app)

    def __call__(self, message: Message, context: Context) -> Message:
        return self._app(message, context)

    def __reduce__(self) -> tuple[Any, ...]:
        return _fetched, (self._stored,)


@functools.lru_cache(maxsize=1)
def _fetched(stored: ObjectRef[ClientApp]) -> ClientApp:
    import ray

    return ray.get(stored)


def _address(given: str | None) -> str:
    """Where to find the cluster, as Ray is told it.

    Raises:
        Misconfigured: E103.
    """
    found, place = (given, "address") if given else (os.environ.get("RAY_ADDRESS") or HERE, "RAY_ADDRESS")
    match = HOST_PORT.fullmatch(found.removeprefix(CLIENT))
    if found in (HERE, ANY) or (match is not None and 0 < int(match["port"]) < 65536):
        return found
    raise Misconfigured(
        "E103",
        f"'{found}' is no address of a Ray cluster",
        place=place,
        hint="write HOST:PORT, as `ray start --head` printed it, or ray://HOST:PORT of its client server",
    )


@contextmanager
def _attached(cluster: str, *, chosen: bool, one_machine: bool) -> Iterator[None]:
    """This process at the cluster. Flower would attach too, but if that fails its ServerApp waits for ever."""
    import ray

    if ray.is_initialized():
        if chosen:
            raise Misconfigured(
                "E105",
                "this process is at a Ray cluster already",
                place="address",
                hint="call ray.shutdown() before, or leave the address out to use that cluster",
            )
        yield  # the caller's own cluster, with the caller's own settings
        return
    if cluster not in (HERE, ANY):
        _refuse_silence(cluster)
    try:
        ray.init(
            address=cluster,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}},
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        ray.shutdown()
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Misconfigured("E116", f"Ray says: {words}", place=cluster, hint="see docs/clusters.md") from error
    try:
        nodes = [node for node in _nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
        if not nodes:
            hint = "give its machines CPUs: ray start --num-cpus N"
            raise Misconfigured("E116", "the cluster has no CPU for a site to train on", place=cluster, hint=hint)
        if one_machine:
            _refuse_other_machines(nodes, cluster)
        yield
    finally:
        ray.shutdown()


def _refuse_silence(cluster: str) -> None:
    """Ask whether anything answers that could be Ray: `ray.init` itself would wait for minutes.

    Raises:
        Misconfigured: E116.
    """
    import grpc  # type: ignore[import-untyped]  # grpcio ships no types

    place = cluster.removeprefix(CLIENT)
    silent = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    with grpc.insecure_channel(place, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=PATIENCE)
        except grpc.RpcError as error:
            if error.code() in silent:  # any other answer is one of a server that speaks Ray's protocol
                raise Misconfigured(
                    "E116",
                    "no Ray cluster answers there",
                    place=cluster,
                    hint="is it running (ray status), and is this the port that `ray start --head` printed?",
                ) from None


def _nodes() -> list[dict[str, Any]]:
    import ray

    return list(ray.nodes())  # type: ignore[no-untyped-call]  # Ray types its API in part


def _refuse_other_machines(nodes: list[dict[str, Any]], cluster: str) -> None:
    import ray

    here = (socket.gethostname(), {ray.util.get_node_ip_address(), "127.0.0.1"})  # type: ignore[no-untyped-call]
    others = sorted(
        f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        for node in nodes
        if node["NodeManagerHostname"] != here[0] or node["NodeManagerAddress"] not in here[1]
    )
    if others:
        raise Misconfigured(
            "E106",
            f"a private job keeps its sites' ledgers in the run's folder, which workers on {others[0]} cannot share",
            place=cluster,
            hint="use a cluster on this machine, or the engine 'cohort' or 'in-process'",
        )
