"""What a model gives away about the records it was trained on, measured with error bars.

Nothing here is a proof of privacy. An attack that fails shows that this attack failed; the promise is the ledger's
epsilon. An attack that succeeds is a leak. Importing this package loads neither torch nor scipy.

>>> import numpy as np
>>> from hedgerow.privacy.leakage import Gate, measure
>>> rng = np.random.default_rng(7)
>>> result = measure(rng.normal(0.5, 1, 500), rng.normal(0, 1, 500), scope="north", rng=rng)
>>> print(f"AUC {result.auc.value:.2f} ({result.auc.low:.2f} - {result.auc.high:.2f})")
AUC 0.62 (0.58 - 0.65)
>>> Gate.parse("auc <= 0.55").check([result]).passed
False
"""

from importlib import import_module
from typing import TYPE_CHECKING

from hedgerow.privacy.leakage.roc import Roc, roc  # not lazy: the function must win over the module of its name

if TYPE_CHECKING:
    from hedgerow.privacy.leakage.gate import Gate, GateResult
    from hedgerow.privacy.leakage.interval import (
        Interval,
        Spread,
        TprAt,
        bootstrap,
        conservative_auc,
        conservative_tpr,
    )
    from hedgerow.privacy.leakage.membership import ALL_SITES, Membership, loss_scores, loss_threshold, measure

__all__ = [
    "ALL_SITES",
    "Gate",
    "GateResult",
    "Interval",
    "Membership",
    "Roc",
    "Spread",
    "TprAt",
    "bootstrap",
    "conservative_auc",
    "conservative_tpr",
    "loss_scores",
    "loss_threshold",
    "measure",
    "roc",
]

_HOME = {
    "gate": ("Gate", "GateResult"),
    "interval": ("Interval", "Spread", "TprAt", "bootstrap", "conservative_auc", "conservative_tpr"),
    "membership": ("ALL_SITES", "Membership", "loss_scores", "loss_threshold", "measure"),
}


def __getattr__(name: str) -> object:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"hedgerow.privacy.leakage.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
