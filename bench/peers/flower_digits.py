"""The Flower app on Ray or on Hedgerow's Grid, and its strategy alone over sites that are trained together."""

import functools
import warnings
from collections.abc import Mapping

from bench.peers.flower_app import flower_app
from bench.peers.hedgerow_job import job_of
from bench.peers.workload import Workload, peer_arguments, scenario_of, task_of, timed
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from hedgerow.flowercompat import quiet_flower
from hedgerow.simulations import CohortGrid, run_simulation


def run(work: Workload, *, path: str, engine: str) -> tuple[float, Mapping[str, float]]:
    server, client, accuracy = flower_app(path, work.rounds)
    if engine == "cohort":
        job = job_of(work, private=False)
        with CohortGrid(job, task_of(work.kind, len(work.y)), scenario=scenario_of(work.sites, work.split)) as grid:
            grid.run_app(server)
    elif engine == "grid":
        run_simulation(server, client, work.sites)
    else:
        on_ray(server, client, work.sites)
    return accuracy(), {}


def on_ray(server: ServerApp, client: ClientApp, sites: int) -> None:
    """As Flower's documentation shows it; Ray is told to start here, since it would join a cluster it finds."""
    from flwr.simulation import run_simulation as run_flower

    run_flower(
        server,
        client,
        sites,
        backend_config={
            "init_args": {"address": "local", "log_to_driver": False},
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        },
    )


if __name__ == "__main__":
    parser = peer_arguments(__doc__)
    parser.add_argument("--engine", choices=["ray", "grid", "cohort"], required=True)
    parsed = parser.parse_args()
    warnings.simplefilter("ignore")
    with quiet_flower(40):
        timed(functools.partial(run, path=parsed.workload, engine=parsed.engine), parsed)
