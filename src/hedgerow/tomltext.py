"""Settings as TOML text; `hedgerow.settings` reads it."""

import json

from hedgerow.settings import Scalar

__all__ = ["toml_literal"]


def toml_literal(value: Scalar) -> str:
    """A value as TOML writes it; a text's literal is one in Python too.

    >>> print(toml_literal('a "b"'), toml_literal(True), toml_literal(3.0), toml_literal(1e-05))
    "a \\"b\\"" true 3.0 1e-05
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):  # JSON's escapes are TOML's too, but TOML also wants DEL escaped
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
