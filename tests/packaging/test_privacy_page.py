"""`docs/privacy.md` shows jobs that can be run, and its examples run."""

import doctest
import re
import tomllib
from pathlib import Path

import pytest

from hedgerow.errors import Misconfigured
from hedgerow.job import Job

PAGE = (Path(__file__).parents[2] / "docs/privacy.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_examples_print_what_the_page_says() -> None:
    examples = "\n".join(code for code in blocks("python") if code.startswith(">>>"))
    test = doctest.DocTestParser().get_doctest(examples, {}, "privacy.md", "privacy.md", 0)
    assert len(test.examples) >= 5
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_site_level_job_is_one_and_refuses_what_the_page_says() -> None:
    head, site = blocks("toml")
    stated = tomllib.loads(head)["tool"]["flwr"]["app"]["config"]["privacy"] | tomllib.loads(site)["privacy"]
    flat = {f"privacy.{key}": value for key, value in stated.items()}
    for part in ("cohort", "aggregate"):
        flat |= {f"{part}.{key}": value for key, value in tomllib.loads(site)[part].items()}
    job = Job.from_flat({**flat, "secure.mode": "off"})
    assert job.privacy.unit == "site" and job.privacy.clip_quantile == 0.5
    for key, value in (("aggregate.rule", "median"), ("cohort.quorum", 2), ("cohort.over_select", 0.5)):
        with pytest.raises(Misconfigured, match="E105"):
            job.override({key: value})
