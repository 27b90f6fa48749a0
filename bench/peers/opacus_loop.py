"""Private federated averaging as a user of Opacus writes it: site after site, one wrapped module, its own optimiser.

Poisson batches, per-record gradients by `GradSampleModule`, clipping and noise by `DPOptimizer`, with the noise that
Hedgerow's plan for the same ε gives. Nothing is accounted, nothing told, nothing stored. No batch is ever empty here:
ninety records, each taken with a chance of one in six.
"""

from collections.abc import Mapping

import torch
from bench.peers.averaging import federated_average
from bench.peers.workload import CLIP, DELTA, EPSILON, LR, Workload, peer_arguments, task_of, timed
from opacus import GradSampleModule  # type: ignore[import-untyped]  # Opacus ships no types
from opacus.optimizers import DPOptimizer  # type: ignore[import-untyped]
from torch.nn.functional import cross_entropy

from hedgerow.privacy import plan_record_dp


def run(work: Workload) -> tuple[float, Mapping[str, float]]:
    torch.manual_seed(0)
    model = task_of(work.kind, len(work.y)).model()
    wrapped = GradSampleModule(model)
    plans = {
        size: plan_record_dp(
            records=size, batch=work.batch, epochs=1, rounds=work.rounds, epsilon=EPSILON, delta=DELTA, clip=CLIP
        )
        for size in sorted(set(work.sizes.tolist()))
    }

    def train(x: torch.Tensor, y: torch.Tensor) -> None:
        plan = plans[len(y)]
        optimizer = DPOptimizer(
            torch.optim.SGD(model.parameters(), lr=LR),
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=CLIP,
            expected_batch_size=plan.expected_batch,
        )
        for _ in range(plan.steps_per_round):
            taken = torch.nonzero(torch.rand(len(y)) < plan.sampling_rate).flatten()
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(wrapped(x[taken]), y[taken]))
            optimizer.step()

    return federated_average(work, model, train, weights=[1 / work.sites] * work.sites), {}


if __name__ == "__main__":
    timed(run, peer_arguments(__doc__).parse_args())
