"""Opacus's per-record gradients and optimiser, without the parts that know data loaders.

`PrivacyEngine.make_private` derives the sampling rate and the denominator from the length of a loader, with
integer rounding on the way; here both are given. Importing this file loads torch and Opacus.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from opacus.grad_sample import GradSampleModule  # type: ignore[import-untyped]  # Opacus ships no types
from opacus.optimizers import DPOptimizer  # type: ignore[import-untyped]  # Opacus ships no types
from torch import nn

from hedgerow.errors import Misconfigured
from hedgerow.privacy.randomness import Randomness

__all__ = ["RecordOptimizer", "per_record_gradients"]

_MODULE_TRACES = ("activations", "max_batch_len")

# Opacus's hooks need the gradient of outputs only; that inputs have none is as it should be.
warnings.filterwarnings("ignore", message="Full backward hook is firing")


class RecordOptimizer(DPOptimizer):  # type: ignore[misc]  # Opacus ships no types
    """Opacus's DP-SGD step with our noise, a fixed denominator and no way past the clip.

    Guarantee: after `step`, every parameter's gradient is (sum of clipped gradients + noise) / denominator,
    where one record changes the sum by at most `clip` in Euclidean length over all parameters together.
    A record with a non-finite gradient adds nothing to the sum. `records` is set before each step: how many
    records the gradients are of.
    """

    records: int

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        noise_multiplier: float,
        clip: float,
        denominator: int,
        randomness: Randomness,
        proximal: float = 0.0,
    ) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=clip,
            expected_batch_size=denominator,
            loss_reduction="mean",
        )
        self.records = 0
        self._randomness = randomness
        if proximal:
            anchors = [(p, p.detach().clone()) for p in self.params]

            def pull(_: DPOptimizer) -> None:
                with torch.no_grad():
                    for p, anchor in anchors:
                        p.grad.add_(p - anchor, alpha=proximal)

            self.attach_step_hook(pull)

    def pre_step(self, closure: Callable[[], float] | None = None) -> bool | None:
        """Clip, add noise and scale, also when a parameter, or all of them, met no record.

        Raises: Misconfigured E130 if a layer saw more or fewer rows than there are records: a clipped row is then no
        clipped record.
        """
        for p in self.params:
            if p.grad_sample is None:
                p.grad_sample = _missing_gradients(p, self.records)
            elif len(p.grad_sample) != self.records:
                raise Misconfigured(
                    "E130",
                    f"a layer with a parameter of shape {tuple(p.shape)} does not see one row a record",
                    place="model",
                    hint="keep the records in the first dimension of what every layer is given",
                )
        done: bool | None = super().pre_step(closure)
        return done

    def clip_and_accumulate(self) -> None:
        """Sum the clipped gradients as Opacus does, leaving out records whose gradient is not finite."""
        parameters: list[Any] = self.params
        # Half precision would round the sum by more than a record weighs, before there is noise to hide it.
        samples = [
            g.reshape(len(g), p.numel()).to(torch.promote_types(g.dtype, torch.float32))
            for p, g in zip(parameters, self.grad_samples, strict=True)
        ]
        norms = torch.stack([g.norm(dim=1) for g in samples], dim=1).norm(dim=1)
        weights = (self.max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
        absent = ~norms.isfinite()
        if bool(absent.any()):
            weights[absent] = 0.0
            for g in samples:
                g[absent] = 0.0  # a weight of zero is not enough: 0 · inf is not a number
        for p, g in zip(parameters, samples, strict=True):
            clipped = (weights @ g).view_as(p)
            p.summed_grad = clipped if p.summed_grad is None else p.summed_grad + clipped

    def add_noise(self) -> None:
        """Add the noise in float64 and round once, so that float32's gaps do not show the sum beneath it."""
        parameters: list[Any] = self.params
        std = self.noise_multiplier * self.max_grad_norm
        noise = self._randomness.gaussian((sum(p.numel() for p in parameters),), std, torch.float64)
        used = 0
        for p in parameters:
            share = noise[used : used + p.numel()].view_as(p).to(p.device)
            used += p.numel()
            p.grad = (p.summed_grad.double() + share).to(p.dtype)


def _missing_gradients(p: Any, batch: int) -> torch.Tensor:
    """Zero gradients for a parameter that no record touched: an empty batch, or a layer not in use."""
    if p.grad is not None and bool((p.grad != 0).any()):
        raise Misconfigured(
            "E130",
            f"a parameter of shape {tuple(p.shape)} is used outside its layer, so no gradient a record is known",
            place="model",
            hint="call the layer itself instead of using its weight",
        )
    return torch.zeros((batch, *p.shape), dtype=p.dtype, device=p.device)


@contextmanager
def per_record_gradients(model: nn.Module) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    """Record every record's own gradient during backward passes in the block, and leave no trace after it."""
    before = [(module, dict(vars(module))) for module in model.modules()]
    gradients = [(p, p.grad) for p in model.parameters()]
    wrapped = GradSampleModule(model, loss_reduction="sum", strict=False)
    try:
        yield wrapped
    finally:
        wrapped.cleanup()
        for module, attributes in before:
            for name in _MODULE_TRACES:
                if name not in attributes:
                    vars(module).pop(name, None)
            vars(module)["_is_full_backward_hook"] = attributes["_is_full_backward_hook"]
        for p, gradient in gradients:
            p.grad = gradient
            vars(p).pop("summed_grad", None)
