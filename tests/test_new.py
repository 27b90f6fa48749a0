"""Tests of hedgerow.new: the written folder is a Flower app, and says nothing that the table does not."""

import csv
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.csv  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hedgerow
from hedgerow.aggregation import BEFORE, RULES, minimum_rows
from hedgerow.errors import Exhausted, Misconfigured
from hedgerow.job import Job
from hedgerow.new import NewProject, create_project
from hedgerow.new.choices import choose
from hedgerow.scenario import Scenario
from hedgerow.settings import dotted

SOURCE = Path(hedgerow.__file__).parents[1]
LOOK = """
import json, data
from hedgerow.task import Site
task = data.task
count = len(task.site_names)
parts = [task.data(Site(name=name, index=index, count=count)).train for index, name in enumerate(task.site_names)]
print(json.dumps({
    "sites": task.site_names, "labels": task.labels, "sizes": [len(part) for part in parts],
    "shapes": sorted({part.x.shape[1:] for part in parts}), "held_out": len(task.held_out()),
    "low": min(float(part.x.min()) for part in parts), "high": max(float(part.x.max()) for part in parts),
}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a project's `data.py` gives when it is imported in a process of its own."""

    sites: list[str]
    labels: list[str]
    sizes: list[int]
    shapes: list[list[int]]
    held_out: int
    low: float
    high: float


def look(project: NewProject, **environment: str) -> Look:
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Look(**json.loads(done.stdout))


def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's breast cancer data with a hospital, a sex and a patient number: 569 records, 8 hospitals."""
    from sklearn.datasets import load_breast_cancer  # type: ignore[import-untyped]

    bunch, rng = load_breast_cancer(), np.random.default_rng(3)
    rows = [
        [1000 + number, *x, f"hospital-{rng.integers(8)}", rng.choice(["f", "m"]), ("malignant", "benign")[y]]
        for number, (x, y) in enumerate(zip(bunch.data, bunch.target, strict=True))
    ]
    header = ["patient_id", *bunch.feature_names, "hospital", "sex", "outcome"]
    return write(tmp_path_factory.mktemp("hospitals") / "patients.csv", header, rows)


@pytest.fixture(scope="module")
def project(hospitals: Path) -> NewProject:
    return create_project(hospitals.parent / "tumours", data=hospitals, label="outcome", site="hospital")


def small(folder: Path, sizes: dict[str, int]) -> Path:
    rows = [
        (20 + number % 50 + number / 100, name, ["no", "yes"][number % 2])
        for name, size in sizes.items()
        for number in range(size)
    ]
    return write(folder / "small.csv", ["age", "ward", "outcome"], rows)


def said(project: NewProject, word: str) -> str:
    return next(line for line in project.said if word in line)


def test_a_table_becomes_a_project_whose_data_can_be_imported(project: NewProject) -> None:
    found = look(project)
    assert found.sites == [f"hospital-{number}" for number in range(8)]
    assert found.labels == ["benign", "malignant"]
    assert found.shapes == [[32]]  # 30 numbers, sex=f, sex=m; neither the patient number nor the hospital
    assert sum(found.sizes) + found.held_out == 569
    assert -1 <= found.low < -0.5 and 0.5 < found.high <= 1


def test_what_was_found_is_said(project: NewProject) -> None:
    assert said(project, "records,") == "patients.csv: 569 records, 34 columns"
    assert "32 features from 30 number columns and 1 text column (2 words)" in project.said
    assert "left out: column 'patient_id' looks like an identifier" in project.said
    assert "2 labels in 'outcome': benign (357), malignant (212)" in project.said
    sizes = look(project).sizes
    assert f"8 sites in 'hospital': from {min(sizes)} training records" in said(project, "8 sites in")
    assert f"more than {max(sizes)} records" in said(project, "privacy.delta")
    assert "cohort.quorum = 3" in said(project, "aggregate.byzantine = 1")
    assert project.findings == ()


def test_the_job_and_the_scenario_are_accepted(project: NewProject) -> None:
    job, scenario = Job.load(project.folder), Scenario.load(project.folder)
    assert (job.privacy.unit, job.privacy.epsilon, job.secure.mode) == ("record", 3.0, "off")
    assert job.privacy.delta is not None and job.privacy.delta < 1 / max(look(project).sizes)
    assert (scenario.sites, scenario.split, scenario.attack) == (8, "column", "none")


def test_the_job_names_every_rule_and_step_that_it_may_use(project: NewProject) -> None:
    text = (project.folder / "pyproject.toml").read_text(encoding="utf-8")
    comments = re.findall(r"^# (Rules|Steps)[^:]*: (.*(?:\n#   .*)*)", text, flags=re.MULTILINE)
    named = {what: re.split(r",\s+(?:#\s+)?", words) for what, words in comments}
    assert named == {"Rules": [name for name in RULES if name != "fltrust"], "Steps": list(BEFORE)}


def test_every_key_is_written_out_so_that_flower_can_override_it(project: NewProject) -> None:
    config = tomllib.loads((project.folder / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(dotted(config["tool"]["flwr"]["app"]["config"])) == set(Job.keys())
    assert not any("hedgerow" in name for name in config["project"]["dependencies"])


def test_parquet_gives_the_same_project_and_an_environment_variable_names_another_file(
    project: NewProject, hospitals: Path, tmp_path: Path
) -> None:
    parquet = tmp_path / "patients.parquet"
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(hospitals), parquet)
    other = create_project(tmp_path / "tumours", data=parquet, label="outcome", site="hospital")
    texts = [(one.folder / "data.py").read_text(encoding="utf-8") for one in (project, other)]
    assert texts[0].replace(str(hospitals), str(parquet)) == texts[1]
    assert look(project, HEDGEROW_DATA=str(parquet)) == look(other) == look(project)


def test_the_digits_project_can_be_imported(tmp_path: Path) -> None:
    project = create_project(tmp_path / "digits")
    found = look(project)
    assert len(found.sites) == 10 and found.shapes in ([[64]], [[1, 8, 8]])
    job = Job.load(project.folder)
    assert job.privacy.delta is not None and job.privacy.delta < 1 / max(found.sizes)
    assert job.local.batch <= min(found.sizes) / 2


def test_the_generated_files_are_clean(project: NewProject, tmp_path: Path) -> None:
    digits = create_project(tmp_path / "digits")
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", project.folder, digits.folder],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_flower_builds_the_app_and_no_record_travels(project: NewProject, tmp_path: Path) -> None:
    runs = project.folder / "runs"
    runs.mkdir()
    (runs / "report.json").write_text("{}", encoding="utf-8")
    environment = {"FLWR_HOME": str(tmp_path / "home"), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from flwr.cli.app import app; app()", "build", "--app", str(project.folder)],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (bundle,) = tmp_path.glob("*.fab")
    with zipfile.ZipFile(bundle) as fab:
        assert set(fab.namelist()) == {"app.py", "data.py", "pyproject.toml", ".info/CONTENT"}
        inside = tomllib.loads(fab.read("pyproject.toml").decode())
    assert inside["tool"]["hedgerow"]["scenario"]["sites"] == 8


def test_counts_of_records_are_not_written_into_the_project(project: NewProject) -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in project.files)
    assert not any(count in text for count in ("569", "357", "212"))


def test_without_a_site_column_the_records_are_shuffled_into_sites(tmp_path: Path) -> None:
    project = create_project(tmp_path / "wards", data=small(tmp_path, {"a": 120}), label="outcome")
    assert Scenario.load(project.folder).split == "iid"
    assert len(look(project).sizes) == Scenario.load(project.folder).sites
    assert "no site column" in said(project, "no site column")


@pytest.mark.parametrize(("wards", "byzantine", "rule"), [(1, 0, "mean"), (3, 0, "mean"), (4, 1, "trimmed-mean")])
def test_fewer_than_four_sites_tolerate_nobody(tmp_path: Path, wards: int, byzantine: int, rule: str) -> None:
    data = small(tmp_path, {f"w{ward}": 30 for ward in range(wards)})
    project = create_project(tmp_path / "wards", data=data, label="outcome", site="ward")
    job = Job.load(project.folder)
    assert (job.aggregate.byzantine, job.aggregate.rule) == (byzantine, rule)
    assert any("nobody to train with" in finding.message for finding in project.findings) == (wards == 1)


@given(sites=st.integers(1, 3000), smallest=st.integers(0, 500), more=st.integers(0, 10**6))
def test_the_choices_never_contradict_each_other(sites: int, smallest: int, more: int) -> None:
    chosen = choose(sites=sites, split="column", smallest=smallest, largest=smallest + more)
    assert sites > 2 * chosen.byzantine and chosen.quorum <= sites
    assert minimum_rows(chosen.rule, chosen.byzantine, chosen.before) <= chosen.quorum
    assert chosen.delta * (smallest + more) < 1
    assert chosen.batch == 1 or chosen.batch <= smallest / 2


def test_tiny_sites_are_named_with_the_way_on(tmp_path: Path) -> None:
    data = small(tmp_path, {"big": 200, "mid": 40, "one": 1, "other": 30})
    project = create_project(tmp_path / "wards", data=data, label="outcome", site="ward")
    tiny = [finding for finding in project.findings if finding.code == "E125"]
    assert tiny and all("'one'" in finding.message for finding in tiny)
    assert "merge" in tiny[-1].hint


def test_missing_values_are_said_and_the_project_refuses_them(tmp_path: Path) -> None:
    rows = [(20 + number if number % 9 else "", "ab"[number % 2], number % 2) for number in range(60)]
    data = write(tmp_path / "gaps.csv", ["age", "ward", "outcome"], rows)
    project = create_project(tmp_path / "gaps", data=data, label="outcome", site="ward")
    (finding,) = project.findings
    assert finding.code == "E123" and "'age' 7" in finding.message and 'missing="drop"' in finding.hint
    with pytest.raises(AssertionError, match="E123"):
        look(project)
    file = project.folder / "data.py"
    file.write_text(file.read_text(encoding="utf-8").replace('"refuse"', '"drop"', 1), encoding="utf-8")
    assert sum(look(project).sizes) < 60


def test_names_with_quotes_and_backslashes_survive(tmp_path: Path) -> None:
    odd = 'a "b"\\c $d'
    rows = [(number / 10, ['x"y', "z\\w"][number % 2], ["n'o", 'y"es'][number % 3 % 2]) for number in range(60)]
    data = write(tmp_path / 'odd "file".csv', [odd, "group", "outcome"], rows)
    project = create_project(tmp_path / "odd", data=data, label="outcome", site="group")
    found = look(project)
    assert found.labels == ["n'o", 'y"es'] and found.sites == ['x"y', "z\\w"]


@pytest.mark.parametrize(
    ("code", "hint", "label", "site"),
    [
        ("E104", "age, ward, outcome", None, "ward"),
        ("E121", "did you mean 'outcome'", "outcom", "ward"),
        ("E121", "did you mean 'ward'", "outcome", "wrad"),
        ("E122", "the columns are", "ward", "ward"),
        ("E122", "classes", "age", None),
    ],
)
def test_a_wrong_label_or_site_is_refused_and_nothing_is_written(
    tmp_path: Path, code: str, hint: str, label: str | None, site: str | None
) -> None:
    data = small(tmp_path, {"a": 30, "b": 30})
    with pytest.raises(Misconfigured) as refused:
        create_project(tmp_path / "wards", data=data, label=label, site=site)
    assert refused.value.code == code and hint in refused.value.hint
    assert not (tmp_path / "wards").exists()


def test_a_table_without_usable_columns_is_refused_with_the_reasons(tmp_path: Path) -> None:
    data = write(tmp_path / "ids.csv", ["id", "outcome"], [(number, number % 2) for number in range(50)])
    with pytest.raises(Misconfigured, match="no column can be a feature: 'id' looks like an identifier"):
        create_project(tmp_path / "ids", data=data, label="outcome")


def test_a_label_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as refused:
        create_project(tmp_path / "digits", label="outcome")
    assert refused.value.code == "E105"


@pytest.mark.parametrize("name", ["a b", "1st", "my_project", "a.b", "-a", "a-", "a" * 33, "ü", "flwr", "Hedgerow"])
def test_a_name_that_flower_would_refuse_is_refused_before(tmp_path: Path, name: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        create_project(tmp_path / name)
    assert refused.value.code == "E103" and not (tmp_path / name).exists()


def test_an_existing_target_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for name in ("here", "file"):
        with pytest.raises(Misconfigured) as refused:
            create_project(tmp_path / name)
        assert refused.value.code == "E115"
    assert list((tmp_path / "here").iterdir()) == [] and (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str, encoding: str) -> int:
        if path.name == "data.py":
            raise OSError(28, "No space left on device")
        return path.write_bytes(text.encode(encoding))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(Exhausted, match="No space left"):
        create_project(tmp_path / "digits")
    assert not (tmp_path / "digits").exists()
