"""Which extra brings a package that is not installed."""

from hedgerow.errors import Misconfigured

__all__ = ["missing_extra"]

EXTRA_OF = {
    "flwr": "full",
    "torch": "full",
    "opacus": "full",
    "sklearn": "full",
    "scipy": "full",
    "jinja2": "full",
    "pyarrow": "full",
    "PIL": "full",
    "ray": "ray",
}


def missing_extra(error: BaseException | None) -> Misconfigured | None:
    """E107 with the command that brings the extra, if the error or a cause of it is that one of its packages lacks.

    >>> print(missing_extra(ModuleNotFoundError("No module named 'torch'", name="torch")))
    E107 torch is not installed; pip install 'hedgerow[full]'
    """
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            package = (error.name or "").partition(".")[0]
            if package in EXTRA_OF:
                hint = f"pip install 'hedgerow[{EXTRA_OF[package]}]'"
                return Misconfigured("E107", f"{package} is not installed", hint=hint)
        error = error.__cause__ or error.__context__
    return None
