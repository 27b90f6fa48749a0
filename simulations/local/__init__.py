"""A real Flower federation on this machine: a SuperLink with TLS and node authentication, and a process per site."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hedgerow.simulations.local.federation import LocalOutcome, run_local

__all__ = ["LocalOutcome", "run_local"]


def __getattr__(name: str) -> object:
    if name in __all__:  # loaded when first used: the keeper process, which imports this package too, starts lighter
        from hedgerow.simulations.local import federation

        return getattr(federation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
