"""Settings that are one line of text in one of several forms: `always`, `random:0.3`, `diurnal:0.1,0.4`.

A flat file of scalars cannot nest, so such a setting carries its own numbers behind its name.
"""

import difflib
import math
import re
from dataclasses import dataclass

from hedgerow.errors import Misconfigured

__all__ = ["Choice", "Form", "Grammar", "Number"]

NUMBER = re.compile(r"[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number of a form: its name in messages and its range; `above`: the lower end itself is out."""

    name: str
    low: float = 0.0
    high: float
    above: bool = False
    whole: bool = False

    def __str__(self) -> str:
        kind = "a whole number " if self.whole else ""
        least = f"above {self.low:g} and at most" if self.above else f"from {self.low:g} to"
        return f"{kind}{self.name} {least} {self.high:g}"

    def admits(self, value: float) -> bool:
        inside = self.low < value <= self.high if self.above else self.low <= value <= self.high
        return inside and (not self.whole or value == int(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One way to write a setting: a kind alone, with numbers, or with a `text` such as a file's name."""

    kind: str
    numbers: tuple[Number, ...] = ()
    text: str = ""
    example: str = ""

    def __str__(self) -> str:
        parts = ",".join(number.name for number in self.numbers) or self.text
        return f"{self.kind}:{parts}" if parts else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was written: the form's kind with its numbers or its text."""

    kind: str
    numbers: tuple[float, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """The forms that the setting `name` may take."""

    name: str
    forms: tuple[Form, ...]

    def __str__(self) -> str:
        *most, last = map(str, self.forms)
        return f"{', '.join(most)} or {last}"

    def parse(self, written: str) -> Choice:
        """Read one of the forms; blanks around its parts do not matter.

        Raises:
            Misconfigured: E103 with the forms, the nearest one, or an example; the place is the setting's name.

        >>> at = Form(kind="at", numbers=(Number(name="SPEED", high=9),), example="at:2.5")
        >>> Grammar(name="pace", forms=(Form(kind="any"), at)).parse("at:2.5")
        Choice(kind='at', numbers=(2.5,), text='')
        """
        kind, colon, rest = (part.strip() for part in written.partition(":"))
        form = next((form for form in self.forms if form.kind == kind), None)
        if form is None:
            near = difflib.get_close_matches(kind.lower(), [form.kind for form in self.forms], 1, 0.5)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise self._error(f"unknown {self.name} '{written}'", f"{hint}the choices are {self}")
        if form.text:
            if rest:
                return Choice(kind=kind, text=rest)
            raise self._error(f"{self.name} '{written}' must state {form.text}", f"write for example {form.example}")
        if not form.numbers:
            if not colon:
                return Choice(kind=kind)
            raise self._error(f"'{kind}' takes nothing after it, but {self.name} is '{written}'", f"write {kind}")
        words = [word.strip() for word in rest.split(",")]
        values = tuple(float(word) if NUMBER.fullmatch(word) else math.nan for word in words)
        pairs = zip(form.numbers, values, strict=False)
        if len(values) == len(form.numbers) and all(number.admits(value) for number, value in pairs):
            return Choice(kind=kind, numbers=values)
        wanted = ", and ".join(map(str, form.numbers))
        hint = f"write for example {form.example}; the choices are {self}"
        raise self._error(f"{self.name} '{written}' must state {wanted}", hint)

    def _error(self, message: str, hint: str) -> Misconfigured:
        return Misconfigured("E103", message, place=self.name, hint=hint)
