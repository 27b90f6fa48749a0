"""The job on pfl-research (`pfl` 0.6), in an environment of its own, built from its public parts as its examples are.

Its `FederatedAveraging` with a `PyTorchModel`, users from `FederatedDataset.from_slices`, updates weighted by records,
evaluation by its central callback in every iteration. Two differences to the others remain, both its own: a user's
mini-batches have the same order in every round; and in the first round it evaluates at the users, not at the server.
Started by torchrun it uses as many processes as torchrun says.
"""

import os
from collections.abc import Mapping

import numpy as np
import torch
from bench.peers.workload import LAYERS, LR, MOMENTUM, Workload, peer_arguments, timed
from pfl.aggregate.simulate import SimulatedBackend  # type: ignore[import-not-found]  # not in this environment
from pfl.aggregate.weighting import WeightByDatapoints  # type: ignore[import-not-found]
from pfl.algorithm.base import NNAlgorithmParams  # type: ignore[import-not-found]
from pfl.algorithm.federated_averaging import FederatedAveraging  # type: ignore[import-not-found]
from pfl.callback.base import TrainingProcessCallback  # type: ignore[import-not-found]
from pfl.callback.central_evaluation import CentralEvaluationCallback  # type: ignore[import-not-found]
from pfl.data.dataset import Dataset  # type: ignore[import-not-found]
from pfl.data.federated_dataset import FederatedDataset  # type: ignore[import-not-found]
from pfl.data.sampling import MinimizeReuseUserSampler  # type: ignore[import-not-found]
from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams  # type: ignore[import-not-found]
from pfl.metrics import Metrics, StringMetricName, Weighted  # type: ignore[import-not-found]
from pfl.model.pytorch import PyTorchModel  # type: ignore[import-not-found]
from torch.nn.functional import cross_entropy


class Network(torch.nn.Sequential):
    """What pfl asks of a module: a loss to minimise and metrics to report."""

    def __init__(self) -> None:
        inputs, hidden, outputs = LAYERS
        super().__init__(torch.nn.Linear(inputs, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, outputs))

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return cross_entropy(self(x), y)

    @torch.no_grad()
    def metrics(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, object]:
        return {"accuracy": Weighted(int((self(x).argmax(dim=1) == y).sum()), len(y))}


class LastAccuracy(TrainingProcessCallback):  # type: ignore[misc]  # pfl is untyped here
    """Keeps what the evaluation callback before it measured."""

    def __init__(self) -> None:
        self.value = 0.0

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        found = dict(aggregate_metrics).get(StringMetricName("Central val | accuracy"))
        self.value = self.value if found is None else found.overall_value
        return False, Metrics()


def run(work: Workload) -> tuple[float, Mapping[str, float]]:
    np.random.seed(0)
    torch.manual_seed(0)
    network = Network()
    users = {index: (torch.from_numpy(x), torch.from_numpy(y)) for index, (x, y) in enumerate(work.shares)}
    federation = FederatedDataset.from_slices(users, MinimizeReuseUserSampler(list(users)))
    held_out = Dataset(raw_data=[torch.from_numpy(work.test_x), torch.from_numpy(work.test_y)])
    last = LastAccuracy()
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=work.rounds,
            evaluation_frequency=work.rounds
            + 1,  # at the users: only in the first iteration, which is not to be avoided
            train_cohort_size=work.sites,
            val_cohort_size=0,
        ),
        backend=SimulatedBackend(training_data=federation, val_data=federation, postprocessors=[WeightByDatapoints()]),
        model=PyTorchModel(
            model=network,
            local_optimizer_create=lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=MOMENTUM),
            central_optimizer=torch.optim.SGD(network.parameters(), lr=1.0),
        ),
        model_train_params=NNTrainHyperParams(local_learning_rate=LR, local_num_epochs=1, local_batch_size=work.batch),
        model_eval_params=NNEvalHyperParams(local_batch_size=None),
        callbacks=[CentralEvaluationCallback(held_out, NNEvalHyperParams(local_batch_size=None)), last],
        send_metrics_to_platform=False,  # which prints them
    )
    return last.value, {}


if __name__ == "__main__":
    parsed = peer_arguments(__doc__).parse_args()
    if os.environ.get("RANK", "0") != "0":
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # one line of JSON, from the first process
    timed(run, parsed)
