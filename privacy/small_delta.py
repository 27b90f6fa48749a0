"""A δ that protects nobody: one that allows publishing a whole record, or a whole site."""

from hedgerow.errors import Misconfigured

__all__ = ["refuse_large_delta"]


def refuse_large_delta(delta: float, count: int, unit: str) -> None:
    """Refuse a `delta` of at least 1 / `count`, of so many records or sites.

    Raises: Misconfigured E132.
    """
    if delta * count >= 1.0:
        raise Misconfigured(
            "E132",
            f"delta {delta:g} with {count} {unit}s would allow publishing a whole {unit}",
            place="delta",
            hint=f"choose a delta well below 1/{count}, for example {count**-1.1:.2g}",
        )
