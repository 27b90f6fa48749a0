import pytest

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.settings import Scalar

SITE: dict[str, Scalar] = {
    "privacy.unit": "site",
    "privacy.epsilon": 4.0,
    "privacy.delta": 1e-5,
    "aggregate.rule": "mean",
    "aggregate.before": "none",
    "aggregate.byzantine": 0,
    "cohort.quorum": 1,
    "secure.mode": "off",
}


def test_site_level_privacy_is_a_job_of_its_own() -> None:
    job = Job.from_flat({**SITE, "cohort.fraction": 0.2, "privacy.clip_quantile": 0.5})
    assert Job.from_flat(job.flat()) == job


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("aggregate.rule", "trimmed-mean", "E105"),
        ("aggregate.before", "clip", "E105"),
        ("aggregate.byzantine", 1, "E105"),
        ("aggregate.weights", "examples", "E105"),
        ("cohort.quorum", 2, "E105"),
        ("cohort.over_select", 0.1, "E105"),
        ("evaluate", "sites", "E105"),
        ("secure.mode", "sum", "E106"),
    ],
)
def test_what_site_level_privacy_does_not_pay_for_is_refused(key: str, value: Scalar, code: str) -> None:
    with pytest.raises(Misconfigured, match=code):
        Job.from_flat({**SITE, key: value})


@pytest.mark.parametrize("missing", ["privacy.epsilon", "privacy.delta"])
@pytest.mark.parametrize("unit", ["record", "site"])
def test_a_unit_without_a_budget_is_refused(unit: str, missing: str) -> None:
    stated = {key: value for key, value in SITE.items() if key != missing}
    with pytest.raises(Misconfigured, match=missing):
        Job.from_flat({**stated, "privacy.unit": unit})


def test_a_clip_that_follows_updates_is_not_one_of_gradients() -> None:
    with pytest.raises(Misconfigured, match="clip_quantile"):
        Job.from_flat({**SITE, "privacy.unit": "record", "privacy.clip_quantile": 0.5})
