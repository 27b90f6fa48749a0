"""What no rule can do better than, in terms of the robustness coefficient κ (see `Rule.kappa`)."""

__all__ = ["least_kappa"]


def least_kappa(f: int, n: int) -> float | None:
    """f / (n - 2f): no rule can have a smaller κ. None for n <= 2f, where no rule has any.

    >>> least_kappa(2, 11)
    0.2857142857142857
    """
    return f / (n - 2 * f) if n > 2 * f else None
