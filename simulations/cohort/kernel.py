"""Train dense networks in compiled code, one client after another, each while its parameters lie in cache.

For small networks this is the fastest of the cohort's forms: a step of a 64-128-10 network on five records takes a few
microseconds of one core. It needs the extra `fast` (numba); without it `available()` is false and nothing else here may
be called. Threads scale: a call holds no lock, shares nothing and starts no thread of its own.

    dense = Dense(widths=(64, 128, 10), activation="relu", biases=(True, True))
    step = Step(kind="sgd", lr=0.1, momentum=0.9)
    train_dense(dense, step, x=x, y=y, model=model, schedule_rows=…, schedule_steps=…, schedule_clients=…, out=rows)
"""

import importlib.util
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hedgerow.errors import Misconfigured
from hedgerow.simulations.cohort.kernels.table import ACTIVATIONS, layer_table

__all__ = ["Dense", "Step", "available", "compiled", "prepare", "train_dense", "train_dense_private"]

Floats = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """A network of dense layers with one activation between them, trained on mean cross entropy.

    `widths` are the inputs, the hidden layers and the classes; `activation` is "relu", "tanh" or "sigmoid", and "" for
    one layer (softmax regression). Flat parameters lie as in torch's state: per layer the weight (outputs, inputs),
    then the bias (outputs,) if `biases` has one.

    >>> Dense(widths=(64, 128, 10), activation="relu", biases=(True, True)).parameters
    9610
    """

    widths: tuple[int, ...]
    activation: str
    biases: tuple[bool, ...]

    def __post_init__(self) -> None:
        fits = len(self.widths) == len(self.biases) + 1 >= 2 and min(self.widths) >= 1
        if not fits or self.activation not in ACTIVATIONS or (self.activation == "") != (len(self.biases) == 1):
            raise Misconfigured("E103", f"no dense network is {self}", place="model")

    @property
    def parameters(self) -> int:
        """The number of parameters, d."""
        pairs = zip(self.widths[:-1], self.widths[1:], self.biases, strict=True)
        return sum(outputs * (inputs + bias) for inputs, outputs, bias in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is done with a batch's gradient: as torch.optim.SGD, or torch.optim.Adam with its defaults.

    In this order: `proximal` · (p − model) is added, the whole gradient is clipped to length `clip`
    (torch.nn.utils.clip_grad_norm_), `weight_decay` · p is added, and the optimiser steps. Each client starts without
    momentum.
    """

    kind: Literal["sgd", "adam"]
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    proximal: float = 0.0
    clip: float | None = None

    @property
    def _numbers(self) -> tuple[float, ...]:
        adam = float(self.kind == "adam")
        return tuple(map(float, (self.lr, self.momentum, self.weight_decay, self.proximal, self.clip or 0.0, adam)))


def available() -> bool:
    """Whether numba is installed (`pip install 'hedgerow[fast]'`); it is not loaded."""
    return importlib.util.find_spec("numba") is not None


def compiled() -> bool:
    """Whether training can begin at once: the compiled code is loaded, or lies in the cache for this processor.

    Compiling takes some seconds, once a machine and version. Loads numba.
    """
    from hedgerow.simulations.cohort.kernels.train import SIGNATURE, train

    if train.signatures:
        return True
    try:
        found = train._cache.load_overload(SIGNATURE, train.targetctx)
    except Exception:  # numba's cache is not a public interface: what cannot be asked counts as not compiled
        return False
    return found is not None


@cache
def prepare() -> Any:
    """Compile the code, or load it from the cache; the first training does so too.

    The cache is numba's: where NUMBA_CACHE_DIR says, else beside the package, else in the user's cache folder. Where
    nothing can be written every process compiles for itself.
    """
    from hedgerow.simulations.cohort.kernels.train import SIGNATURE, train

    train.compile(SIGNATURE)
    train.disable_compile()  # other arguments are refused, not compiled for
    return train


def train_dense(
    dense: Dense,
    step: Step,
    *,
    x: Floats,
    y: Whole,
    model: Floats,
    schedule_rows: Whole,
    schedule_steps: Whole,
    schedule_clients: Whole,
    out: Floats,
) -> None:
    """Train every client from `model` (d,) on its batches; `out` (k, d) becomes trained minus model.

    `x` (N, inputs) and `y` (N,) hold all clients' records. Step t takes the rows
    schedule_rows[schedule_steps[t]:schedule_steps[t + 1]], and client j the steps from schedule_clients[j] up to
    schedule_clients[j + 1], in that order; without steps its row of `out` is zero. `out` is C-contiguous; other arrays
    that are not, are copied in every call.

    Guarantee: a client's row has the same bytes whichever clients are trained beside it, and in whichever thread.
    Numbers that are not finite stay with the client whose records hold them.
    Raises: Misconfigured E126 for shapes, dtypes or a schedule that do not fit, E124 for labels without an output.
    Cost: O(rows · d), a few seconds more if the code was never compiled.
    """
    _train(dense, step, (x, y, model, schedule_rows, schedule_steps, schedule_clients), None, out)


def train_dense_private(
    dense: Dense,
    step: Step,
    *,
    x: Floats,
    y: Whole,
    model: Floats,
    schedule_rows: Whole,
    schedule_steps: Whole,
    schedule_clients: Whole,
    clip: float,
    denominators: npt.NDArray[np.float64],
    noise: Floats,
    out: Floats,
) -> None:
    """`train_dense` with DP-SGD steps, as `hedgerow.privacy.private_steps` makes them.

    Each record's gradient is clipped to length `clip` over all parameters; a record whose gradient is not finite adds
    exactly nothing. A step's gradient is (sum + noise[t]) / denominators[j] for client j, where `noise` (T, d) already
    has the standard deviation that was planned, in a flat row's order. FedProx's pull and the optimiser follow. A step
    without records is noise alone. Here `step.clip` is of the noisy gradient.

    Raises: as `train_dense`; E103 for a clip that is not positive and finite or a denominator that is not positive.
    """
    if not 0.0 < clip < np.inf:
        raise Misconfigured("E103", f"clip={clip!r}, expected a positive finite number", place="clip")
    _train(
        dense, step, (x, y, model, schedule_rows, schedule_steps, schedule_clients), (clip, denominators, noise), out
    )


def _simple(array: Any) -> npt.NDArray[Any]:
    """A plain array that is read only: numba compiles anew for every other kind."""
    plain = np.ascontiguousarray(np.require(array, requirements="A")).view()
    plain.flags.writeable = False
    return plain


def _train(
    dense: Dense,
    step: Step,
    given: tuple[Floats, Whole, Floats, Whole, Whole, Whole],
    private: tuple[float, npt.NDArray[np.float64], Floats] | None,
    out: Floats,
) -> None:
    """Check what the compiled code takes on trust, and run it."""
    x, y, model, rows, steps, clients = map(_simple, given)
    k, d = max(len(clients) - 1, 0), dense.parameters
    clip, denominators, noise = private or (0.0, np.zeros(0), np.zeros((0, d), np.float32))
    denominators, noise = _simple(denominators), _simple(noise)
    expected: dict[str, tuple[Any, tuple[int, ...], Any]] = {
        "x": (x, (len(y), dense.widths[0]), np.float32),
        "y": (y, (len(y),), np.int64),
        "model": (model, (d,), np.float32),
        "schedule_rows": (rows, (len(rows),), np.int64),
        "schedule_steps": (steps, (len(steps),), np.int64),
        "schedule_clients": (clients, (k + 1,), np.int64),
        "out": (out, (k, d), np.float32),
    }
    if private:
        expected["denominators"] = (denominators, (k,), np.float64)
        expected["noise"] = (noise, (len(steps) - 1, d), np.float32)
    for name, (array, shape, dtype) in expected.items():
        if array.shape != shape or array.dtype != dtype:
            found = f"{array.shape} of {array.dtype}"
            raise Misconfigured("E126", f"{name} is {found}, expected {shape} of {np.dtype(dtype)}", place=name)
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise Misconfigured("E126", "out is not a writable array with one row after another", place="out")
    for name, cuts, end in (("schedule_clients", clients, len(steps) - 1), ("schedule_steps", steps, len(rows))):
        if not len(cuts) or cuts[0] < 0 or cuts[-1] > end or bool((cuts[1:] < cuts[:-1]).any()):
            raise Misconfigured("E126", f"{name} does not rise from 0 to {end} at most", place=name)
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(y):
        raise Misconfigured("E126", f"a row is outside 0 to {len(y) - 1}", place="schedule_rows")
    labels = y[rows]
    if len(labels) and not 0 <= labels.min() <= labels.max() < dense.widths[-1]:
        raise Misconfigured("E124", f"a label is outside 0 to {dense.widths[-1] - 1}", place="y")
    if private and not bool((denominators > 0.0).all()):
        raise Misconfigured("E103", "a denominator is not positive", place="denominators")
    table, kind = layer_table(dense.widths, dense.biases), ACTIVATIONS.index(dense.activation)
    train = prepare()
    train(table, kind, step._numbers, x, y, model, rows, steps, clients, clip, denominators, noise, out)
