"""`docs/aggregation.md` names exactly the rules and steps there are; what it says of them holds; its examples run."""

import doctest
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hedgerow.aggregation import BEFORE, RULES, aggregate, make_rule, minimum_rows, registry, supports_weights, wanted
from hedgerow.job import Job

RULE_COLUMNS, STEP_COLUMNS = ("what the vector is", "rows for f"), ("what it does to the updates", "rows for f, where")
BUILT_IN = [name for name in RULES if registry._owners.get(name) is None]  # others are some test's own


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs/aggregation.md").read_text(encoding="utf-8")


def rows_of(page: str, first: str, *columns: str) -> dict[str, list[str]]:
    """The table whose header starts like this: name to the other cells."""
    (start,) = re.finditer(rf"^\| {first} \| " + r" \| ".join(map(re.escape, columns)), page, flags=re.MULTILINE)
    lines = page[start.start() :].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    found = {row[0].strip("`"): row[1:] for row in cells}
    assert len(found) == len(lines), "a name stands twice"
    return found


def value(cell: str, **numbers: float) -> float:
    """A cell's formula, as the page writes it: `6q · (1 + q)`."""
    text = re.sub(r"(\d)([a-z])", r"\1*\2", cell.strip("`").replace("·", "*").replace("²", "**2"))
    return float(eval(text, {"max": max}, numbers))


def test_the_tables_name_every_rule_and_every_step_once_in_the_registrys_order(page: str) -> None:
    assert list(rows_of(page, "rule", *RULE_COLUMNS)) == BUILT_IN
    assert list(rows_of(page, "step", *STEP_COLUMNS)) == list(BEFORE)
    assert list(rows_of(page, "name", "relies on")) == [*BUILT_IN, *BEFORE]


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_the_page_says_of_a_rule_holds(page: str, name: str) -> None:
    _, rows, kappa, beside, weights = rows_of(page, "rule", *RULE_COLUMNS)[name]
    for f, n in ((0, 9), (1, 9), (2, 15), (5, 31)):
        assert minimum_rows(name, f) == value(rows, f=f)
        proven = make_rule(name, byzantine=f).kappa(n)
        if kappa == "0 for f = 0":
            assert proven == (0 if f == 0 else None)
        elif kappa == "–":
            assert proven is None
        else:
            assert proven is not None and math.isclose(proven, value(kappa, q=f / (n - 2 * f)), abs_tol=1e-12)
    rule = make_rule(name, byzantine=1)
    X, rng = np.random.default_rng(0).standard_normal((9, 5)), np.random.default_rng(1)
    made = aggregate(X, rule, sites=[f"site-{row}" for row in range(9)], rng=rng, reference=X[0])
    named = set() if beside == "–" else set(beside.split(", "))
    assert named == {*wanted(rule), *(["memory"] if made.state else [])}
    assert weights == ("yes" if supports_weights(name) else "no")


@pytest.mark.parametrize("name", list(BEFORE))
def test_what_the_page_says_of_a_step_holds(page: str, name: str) -> None:
    _, rows, kappa, beside, weights = rows_of(page, "step", *STEP_COLUMNS)[name]
    for f, n in ((0, 9), (1, 9), (2, 15), (5, 31)):
        for rule in ("mean", "trimmed-mean", "bulyan"):
            assert minimum_rows(rule, f, name) == value(rows, f=f, r=minimum_rows(rule, f))
        alone, proven = make_rule("trimmed-mean", byzantine=f), make_rule("trimmed-mean", byzantine=f, before=name)
        after, bound = alone.kappa(n), proven.kappa(n)
        assert after is not None
        if kappa == "–":
            assert bound is None
        else:
            said = value(kappa.replace("κ", "k"), f=f, n=n, q=f / (n - 2 * f), k=after)
            assert bound is not None and math.isclose(bound, said, abs_tol=1e-12)
    assert beside == (", ".join(wanted(make_rule("mean", byzantine=0, before=name))) or "–")
    assert weights == ("yes" if supports_weights("mean", name) else "no")


def test_the_page_states_the_jobs_defaults(page: str) -> None:
    usual = Job.from_flat({"privacy.unit": "none", "secure.mode": "off"}).aggregate
    assert (
        f"Left out, the rule is `{usual.rule}` after `{usual.before}`, with f = {usual.byzantine}." in page
        and usual.weights == "uniform"
    )


def test_the_readme_counts_the_rules_and_steps(root: Path) -> None:
    assert f"[{len(BUILT_IN)} rules and {len(BEFORE)} steps before them]" in (root / "README.md").read_text("utf-8")


def test_the_examples_print_what_the_page_says(page: str) -> None:
    examples = "\n".join(code for code in blocks(page) if code.startswith(">>>"))
    test = doctest.DocTestParser().get_doctest(examples, {}, "aggregation.md", "aggregation.md", 0)
    assert len(test.examples) > 15
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.fixture
def registry_as_it_was() -> Iterator[None]:
    kept, owners = dict(registry._rules), dict(registry._owners)
    yield
    for names, before in ((registry._rules, kept), (registry._owners, owners)):
        names.clear()
        names.update(before)  # type: ignore[arg-type]


def test_the_rule_of_ones_own_withstands_a_long_update(page: str, registry_as_it_was: None) -> None:
    (code,) = (code for code in blocks(page) if "@register_rule" in code)
    exec(compile(code, "aggregation.md", "exec"), {"__name__": "data"})
    X = np.vstack([np.ones((4, 3)), np.full((1, 3), 1e6)])
    assert aggregate(X, make_rule("shorter-half", byzantine=1)).vector.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.slow
def test_the_rule_of_ones_own_runs_in_a_new_project(page: str, tmp_path: Path) -> None:
    (code,) = (code for code in blocks(page) if "@register_rule" in code)
    hedgerow(tmp_path, "new", "demo")
    with (tmp_path / "demo/data.py").open("a", encoding="utf-8") as data:
        data.write(f"\n\n{code}")
    assert "the job can start" in hedgerow(tmp_path, "check", "demo", "-c", "aggregate.rule=shorter-half")
    said = hedgerow(tmp_path, "sim", "demo", "-c", "aggregate.rule=shorter-half rounds=1 privacy.unit=none")
    assert "shorter-half after" in said and "round 1/1" in said


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)


def hedgerow(folder: Path, *words: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "hedgerow", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
