"""A torch module read as steps that train many clients at once, or the reason why it cannot be."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from hedgerow.simulations.cohort.layers import Convolution, Embedding, Linear, Op
from hedgerow.simulations.cohort.network import Network, Node, Unstackable
from hedgerow.simulations.cohort.norms import GroupNorm, LayerNorm
from hedgerow.simulations.cohort.pointwise import Add, Flatten, Function, ReLU, Sigmoid, Tanh, WholeNumbers

__all__ = ["read_network"]

# Modules and functions that treat the records of a batch one by one and draw nothing: they run on all clients' records
# as one batch.
BY_RECORD = (
    nn.GELU,
    nn.SiLU,
    nn.ELU,
    nn.LeakyReLU,
    nn.Softplus,
    nn.Hardtanh,
    nn.ReLU6,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
)
FUNCTIONS = (
    F.gelu,
    F.silu,
    F.elu,
    F.leaky_relu,
    F.softplus,
    F.max_pool2d,
    F.avg_pool2d,
    F.adaptive_avg_pool2d,
)
ACTIVATIONS: dict[Any, Op] = {
    nn.ReLU: ReLU(),
    F.relu: ReLU(),
    torch.relu: ReLU(),
    "relu": ReLU(),
    nn.Tanh: Tanh(),
    F.tanh: Tanh(),
    torch.tanh: Tanh(),
    "tanh": Tanh(),
    nn.Sigmoid: Sigmoid(),
    F.sigmoid: Sigmoid(),
    torch.sigmoid: Sigmoid(),
    "sigmoid": Sigmoid(),
}


def read_network(model: nn.Module) -> Network:
    """The model's steps.

    Raises:
        Unstackable: a layer, function or control flow that is not known to treat records one by one; shared parameters;
            buffers; dropout.
    """
    if any(True for _ in model.buffers()):
        raise Unstackable("it has buffers")
    alone = _alone(model)
    if alone is not None:
        return alone
    shared = len(list(model.parameters())) != len(list(model.named_parameters(remove_duplicate=False)))
    if shared or _hooked(model):
        raise Unstackable("layers share parameters" if shared else "it has hooks")
    try:
        graph = fx.Tracer().trace(model)
    except Exception as error:  # control flow that depends on data, or code that tracing does not know
        raise Unstackable(f"its forward function cannot be traced ({type(error).__name__})") from None
    reading = _Reading(model)
    for step in graph.nodes:
        reading.take(step)
    nodes = reading.nodes
    if not nodes or reading.output != len(nodes):
        raise Unstackable("its output is not the last thing it computes")
    named = {name for node in nodes for name in node.parameters}
    if {name for name, _ in model.named_parameters()} != named:
        raise Unstackable("it has parameters outside its layers, or layers that it does not use")
    if len([name for node in nodes for name in node.parameters]) != len(named):
        raise Unstackable("a layer is used twice")
    if _unread(nodes):
        raise Unstackable("a layer's output is not used")
    trained = tuple(name for name, parameter in model.named_parameters() if parameter.requires_grad)
    return Network(nodes=tuple(nodes), trained=trained)


def _alone(model: nn.Module) -> Network | None:
    """A model that is itself a layer: tracing would look inside it."""
    names = tuple(name for name, _ in model.named_parameters())
    if any(True for _ in model.children()) or not type(model).__module__.startswith("torch.nn.") or _hooked(model):
        return None
    op = _module(model)
    trains = [parameter.requires_grad for parameter in model.parameters()]
    if op is None or not all(trains):
        return None
    return Network(nodes=(Node(op=op, inputs=(0,), parameters=names, trained=bool(names)),), trained=names)


def _unread(nodes: Sequence[Node]) -> bool:
    """Whether the output does not depend on some step that has parameters."""
    read = {len(nodes)}
    for number in range(len(nodes), 0, -1):
        if number in read:
            read.update(nodes[number - 1].inputs)
    return any(node.parameters and number not in read for number, node in enumerate(nodes, 1))


@dataclass(slots=True)
class _Reading:
    model: nn.Module
    nodes: list[Node] = field(default_factory=list)
    values: dict[fx.Node, int] = field(default_factory=dict)
    sizes: set[fx.Node] = field(default_factory=set)  # the batch size, read from the input
    output: int = -1

    def take(self, step: fx.Node) -> None:
        if step.op == "placeholder":
            if self.values or step.args:
                raise Unstackable("its forward function takes more than the records")
            self.values[step] = 0
        elif step.op == "output":
            (result,) = step.args
            if not isinstance(result, fx.Node) or result not in self.values:
                raise Unstackable("its output is not one tensor")
            self.output = self.values[result]
        elif step.op == "call_module":
            module = self.model.get_submodule(str(step.target))
            op = _module(module)
            if op is None:
                self._same(step)  # nn.Identity, or dropout that drops nothing
            else:
                names = [f"{step.target}.{name}" for name, _ in module.named_parameters()]
                self._add(step, op, names, [parameter.requires_grad for parameter in module.parameters()])
        elif step.op in ("call_function", "call_method"):
            self._call(step)
        else:
            raise Unstackable("its forward function uses a parameter by itself")

    def _call(self, step: fx.Node) -> None:
        target = step.target
        if target in ("size",) and step.args[1:] == (0,):
            self.sizes.add(step)
        elif target is getattr and step.args[1] == "shape":
            self.sizes.add(step)
        elif target is operator.getitem and step.args[0] in self.sizes and step.args[1] == 0:
            self.sizes.add(step)
        elif target in ACTIVATIONS and len(step.args) == 1 and not (set(step.kwargs) - {"inplace"}):
            self._add(step, ACTIVATIONS[target], sources=step.args[:1])
        elif target in ("flatten", torch.flatten) and [*step.args[1:], *step.kwargs.values()] == [1]:
            self._add(step, Flatten(), sources=step.args[:1])
        elif target in ("view", "reshape") and _flattens(step.args[1:], self.sizes):
            self._add(step, Flatten(), sources=step.args[:1])
        elif target in ("long",) and len(step.args) == 1:
            self._add(step, WholeNumbers(), sources=step.args[:1])
        elif target in (operator.add, torch.add, "add") and len(step.args) == 2 and not step.kwargs:
            self._add(step, Add())
        elif target in FUNCTIONS and not any(isinstance(value, fx.Node) for value in _rest(step)):
            self._add(step, Function(_bound(target, step)), sources=step.args[:1])
        elif target in ("mean", torch.mean) and _over_places(step):
            self._add(step, Function(_bound(torch.mean, step)), sources=step.args[:1])
        else:
            name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
            raise Unstackable(f"its forward function calls {name}")

    def _same(self, step: fx.Node) -> None:
        (source,) = step.args
        self.values[step] = self._number(source)

    def _add(
        self,
        step: fx.Node,
        op: Op,
        names: Sequence[str] = (),
        trains: Sequence[bool] = (),
        sources: Sequence[object] | None = None,
    ) -> None:
        if trains and any(trains) != all(trains):
            raise Unstackable("a layer is frozen in part")
        inputs = tuple(self._number(source) for source in (step.args if sources is None else sources))
        before = [self.nodes[number - 1] for number in inputs if number]
        self.nodes.append(
            Node(
                op=op,
                inputs=inputs,
                parameters=tuple(names),
                trained=bool(names) and all(trains),
                above=any(node.trained or node.above for node in before),
            )
        )
        self.values[step] = len(self.nodes)

    def _number(self, source: object) -> int:
        if not isinstance(source, fx.Node) or source not in self.values:
            raise Unstackable("a step reads something else than an activation")
        return self.values[source]


def _module(module: nn.Module) -> Op | None:
    """The step of a layer, `None` where it does nothing."""
    kind = type(module)
    if kind in ACTIVATIONS:
        return ACTIVATIONS[kind]
    if kind is nn.Linear:
        assert isinstance(module, nn.Linear)
        return Linear(module.bias is not None)
    if kind is nn.Conv2d:
        assert isinstance(module, nn.Conv2d)
        if module.groups != 1 or module.padding_mode != "zeros" or isinstance(module.padding, str):
            raise Unstackable("a convolution has groups, or padding by name or other than zeros")
        return Convolution(
            kernel=_pair(module.kernel_size),
            stride=_pair(module.stride),
            padding=_pair(module.padding),
            dilation=_pair(module.dilation),
            bias=module.bias is not None,
        )
    if kind is nn.Embedding:
        assert isinstance(module, nn.Embedding)
        if module.max_norm is not None or module.scale_grad_by_freq or module.sparse:
            raise Unstackable("an embedding rescales its vectors or gradients")
        if module.padding_idx is not None:  # Opacus trains that row too, torch does not
            raise Unstackable("an embedding has a padding index")
        return Embedding()
    if kind is nn.GroupNorm and getattr(module, "affine"):
        assert isinstance(module, nn.GroupNorm)
        return GroupNorm(module.num_groups, module.eps)
    if kind is nn.LayerNorm and getattr(module, "elementwise_affine"):
        assert isinstance(module, nn.LayerNorm)
        if module.bias is None:
            raise Unstackable("a LayerNorm has no bias")
        return LayerNorm(tuple(module.normalized_shape), module.eps)
    if kind is nn.Flatten:
        assert isinstance(module, nn.Flatten)
        if (module.start_dim, module.end_dim) != (1, -1):
            raise Unstackable("a Flatten leaves some dimensions")
        return Flatten()
    if kind is nn.Identity or (isinstance(module, nn.modules.dropout._DropoutNd) and module.p == 0):
        return None
    if kind in BY_RECORD:
        return Function(module)
    raise Unstackable(f"{kind.__name__} is no layer that is stacked")


def _pair(values: Sequence[int]) -> tuple[int, int]:
    first, second = values
    return first, second


def _flattens(arguments: Sequence[object], sizes: set[fx.Node]) -> bool:
    """Whether a view keeps the first dimension and puts the rest in one."""
    shape = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], tuple | list) else arguments
    return len(shape) == 2 and shape[0] in sizes and shape[1] == -1


def _bound(call: Any, step: fx.Node) -> Callable[[Tensor], Tensor]:
    """The call with the step's own arguments, as a function of the activation."""
    arguments: Any = step.args[1:]
    options: Any = step.kwargs

    def bound(x: Tensor) -> Tensor:
        value: Tensor = call(x, *arguments, **options)
        return value

    return bound


def _rest(step: fx.Node) -> list[object]:
    return [*step.args[1:], *step.kwargs.values()]


def _over_places(step: fx.Node) -> bool:
    """Whether a mean names dimensions of a record only."""
    dims = [*step.args[1:2], *(value for key, value in step.kwargs.items() if key == "dim")]
    if len(dims) != 1:
        return False
    named = dims[0] if isinstance(dims[0], tuple | list) else [dims[0]]
    return all(isinstance(dim, int) and (dim > 0 or dim in (-1,)) for dim in named)


def _hooked(model: nn.Module) -> bool:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    watched = any(parameter._backward_hooks for parameter in model.parameters())
    return watched or any(getattr(module, kind) for module in model.modules() for kind in kinds)
