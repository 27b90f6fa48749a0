"""From what was found to the text of a project's files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files
from string import Template
from textwrap import TextWrapper

from hedgerow.new.choices import Choices
from hedgerow.tasks.tableprofile import TableProfile
from hedgerow.tomltext import toml_literal

__all__ = ["render_data", "render_pyproject", "template"]

WIDTH = 88


def template(file: str, /, **values: str) -> str:
    """One of the `*.template` files with its `$names` filled in."""
    text = files("hedgerow.new").joinpath(f"{file}.template").read_text(encoding="utf-8")
    return Template(text).substitute(values)


def render_pyproject(name: str, choices: Choices) -> str:
    """The project's `pyproject.toml`: Flower's app and every choice of the job, each with its comment."""
    comments = {
        "iid": "shuffled; or dirichlet:ALPHA, labels:PER_SITE, quantity:ALPHA",
        "column": "a site per value of the site column",
    }
    robust = choices.byzantine > 0
    text = template(
        "pyproject.toml",
        name=toml_literal(name),
        quorum=str(choices.quorum),
        batch=str(choices.batch),
        delta=toml_literal(choices.delta),
        rule=toml_literal(choices.rule),
        **_rule_names(),
        rule_comment='any of these, or one of your own; "mean" resists nobody'
        if robust
        else "resists nobody: with so few sites nobody can be outvoted",
        byzantine=str(choices.byzantine),
        byzantine_comment="how many sites may be hostile; 0 must be written out",
        before=toml_literal(choices.before),
        before_comment="leave out the longest, shorten the next, then mix each with its nearest neighbours"
        if robust
        else "shorten long updates",
        sites=str(choices.sites),
        split=toml_literal(choices.split),
        split_comment=comments.get(choices.split, "uneven labels; or iid, labels:PER_SITE, quantity:ALPHA"),
    )
    head, section, body = text.partition("[tool.flwr.app.config]\n")
    return head + section + _aligned(body)


def render_data(profile: TableProfile, label: str, site: str | None) -> str:
    """The project's `data.py` for a table, with what was found in it as constants."""
    blocks: list[str] = []
    arguments = [f"label={toml_literal(label)},", "labels=LABELS,"]
    if profile.ranges:
        rows = [f"{toml_literal(name)}: ({low:g}, {high:g})," for name, (low, high) in profile.ranges.items()]
        blocks.append(_block("RANGES = {", rows, "}"))
        arguments.append("ranges=RANGES,")
    if profile.categories:
        rows = [_listed(f"{toml_literal(name)}: ", words) for name, words in profile.categories.items()]
        blocks.append(_block("CATEGORIES = {", rows, "}"))
        arguments.append("categories=CATEGORIES,")
    blocks.append(_listed("LABELS = ", tuple(profile.labels), indent="", end=""))
    if profile.left_out:
        rows = [f"{toml_literal(name)},  # {reason}" for name, reason in profile.left_out.items()]
        blocks.append(_block("# Not used, and why.\nIGNORE = [", rows, "]"))
        arguments.append("ignore=IGNORE,")
    if site is not None:
        arguments.append(f"site={toml_literal(site)},")
    arguments.append('missing="refuse",  # or "drop" such records, or "zero": the middle of the range')
    arguments.append("test_fraction=0.2,  # held out, drawn by a hash of the record")
    return template(
        "data_table.py",
        path=toml_literal(str(profile.path)),
        constants="\n".join(f"{block}\n" for block in blocks),
        arguments="\n".join(f"        {argument}" for argument in arguments),
    )


def _block(head: str, rows: Iterable[str], end: str) -> str:
    return "\n".join([head, *(f"    {row}" for row in rows), end])


def _listed(head: str, words: Sequence[str], *, indent: str = "    ", end: str = ",") -> str:
    """`head["a", "b"]`, one word per line where one line does not hold them."""
    line = f"{head}[{', '.join(map(toml_literal, words))}]{end}"
    if len(indent + line) <= WIDTH:
        return line
    return "\n".join([f"{head}[", *(f"{indent}    {toml_literal(word)}," for word in words), f"{indent}]{end}"])


def _rule_names() -> dict[str, str]:
    """The rules and the steps as comments, without the rules that ask for more than a job's coordinator has."""
    from hedgerow.aggregation import BEFORE, RULES, make_rule, wanted

    usable = [name for name in RULES if "reference" not in wanted(make_rule(name, byzantine=0))]
    texts = {
        "rules": f"Rules: {', '.join(usable)}",
        "steps": f"Steps before the rule, joined with '+': {', '.join(BEFORE)}",
    }
    wrapped = TextWrapper(110, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False)
    return {key: wrapped.fill(text) for key, text in texts.items()}


def _aligned(text: str) -> str:
    """Comments behind values start in one column per paragraph."""
    paragraphs = []
    for paragraph in text.split("\n\n"):
        pairs = [line.split("  # ", 1) for line in paragraph.split("\n")]
        width = max((len(pair[0]) for pair in pairs if len(pair) == 2), default=0)
        paragraphs.append(
            "\n".join(
                "  # ".join([pair[0].ljust(width), *pair[1:]]).rstrip() if len(pair) == 2 else pair[0] for pair in pairs
            )
        )
    return "\n\n".join(paragraphs)
