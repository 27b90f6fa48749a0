"""The pages' templates: text is escaped, and a name that a template misspells is an error."""

import functools
import re
from typing import TYPE_CHECKING

from hedgerow.errors import Misconfigured

if TYPE_CHECKING:
    import jinja2

__all__ = ["need_jinja2", "template"]


def need_jinja2() -> None:
    """Refuse to begin what could not be reported.

    Raises:
        Misconfigured: E107 without jinja2.
    """
    try:
        import jinja2  # noqa: F401  # only whether it is there
    except ModuleNotFoundError:
        hint = "pip install 'hedgerow[full]'"
        raise Misconfigured("E107", "the report needs jinja2", place="report", hint=hint) from None


@functools.cache
def template(name: str) -> "jinja2.Template":
    """One of the templates beside this file, for example `page.html.j2`.

    Raises:
        Misconfigured: E107 without jinja2.
    """
    need_jinja2()
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hedgerow.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["tied"] = lambda text: re.sub(r"(?<=[εδ]) = |(?<=\d) (?=%)", _keep_together, text)
    return environment.get_template(name)


def _keep_together(match: re.Match[str]) -> str:
    return match[0].replace(" ", "\N{NO-BREAK SPACE}")
