"""How the sites were trained, in a sentence."""

from hedgerow.report.numbers import significant
from hedgerow.report.summary import Trained

__all__ = ["clipping_in_words", "trained_in_words"]

_FAST = ("kernel", "layers")
_PATHS = {
    "kernel": "trained the sites together with a compiled kernel",
    "layers": "trained the sites together, each layer of all of them in one stacked product",
    "vmap": "trained the sites together, all of them in one vectorised call of the model (vmap)",
    "one-by-one": "trained one site after the other",
}
_CLIPPING = {
    "ghost norms": "ghost norms, which give the length of each record's gradient without forming it",
    "per-record gradients": "per-record gradients, each formed and clipped on its own",
    "opacus": "Opacus, which forms each record's gradient and clips it",
}


def trained_in_words(trained: Trained) -> str:
    """One sentence: the path, why a slow one, how gradients were clipped, and how far the numbers may be apart.

    >>> trained_in_words(Trained(engine="cohort", path="one-by-one", reason="batch normalisation mixes records",
    ...                          private="opacus", difference=None, workers=1, chunk=1, device="cpu"))
    'The engine cohort trained one site after the other (batch normalisation mixes records); clipping by opacus.'
    """
    words = f"The engine {trained.engine or 'of this run'} {_PATHS.get(trained.path, f'took the path {trained.path}')}"
    if trained.path != "one-by-one":
        words += f", {trained.chunk:,} at a time" if trained.chunk > 1 else ""
        words += f" by each of {trained.workers} workers" if trained.workers > 1 else ""
    words += f" on {trained.device}" if trained.device not in ("", "cpu") else ""
    if trained.path not in _FAST and trained.reason:
        words += f" ({trained.reason.rstrip('.')})"
    parts = [words]
    if trained.private:
        parts.append(f"clipping by {trained.private}")
    if trained.difference is not None:
        apart = significant(trained.difference, 2)
        parts.append(f"on the sites tried first, at most {apart} away from training them one by one")
    return "; ".join(parts) + "."


def clipping_in_words(trained: Trained) -> str:
    """How the records' gradients were clipped under differential privacy; empty without."""
    return _CLIPPING.get(trained.private, trained.private)
