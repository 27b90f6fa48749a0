"""The last section: everything that is needed to get the run again, as text to copy."""

from collections.abc import Mapping

from hedgerow.report.content import Fact, Section
from hedgerow.report.method import trained_in_words
from hedgerow.report.numbers import count
from hedgerow.report.summary import RunSummary
from hedgerow.settings import Scalar
from hedgerow.tomltext import toml_literal

__all__ = ["reproducing"]

MOST_NAMES = 20  # of attackers, where there are thousands of sites


def reproducing(run: RunSummary) -> Section:
    """The job and the scenario as TOML, the digest, the seed, the versions, the command."""
    facts = [Fact(name="how it was trained", text=trained_in_words(each)) for each in run.trained]
    if run.job_digest:
        facts.append(Fact(name="job digest", text=run.job_digest, code=True))
    if "seed" in run.scenario:
        facts.append(Fact(name="seed", text=str(run.scenario["seed"]), code=True))
    if run.model_sha256:
        facts.append(Fact(name="final model (SHA-256)", text=run.model_sha256, code=True))
    if run.versions:
        facts.append(
            Fact(name="versions", text=", ".join(f"{name} {version}" for name, version in run.versions.items()))
        )
    if run.attacker_sites:
        named = run.attacker_sites[:MOST_NAMES] if run.many else run.attacker_sites
        more = (
            f" and {count(len(run.attacker_sites) - len(named))} more" if len(named) < len(run.attacker_sites) else ""
        )
        facts.append(Fact(name="attacking sites", text=", ".join(named) + more))
    code = []
    if run.command:
        code.append(Fact(name="The command", text=run.command, code=True))
    if run.job:
        code.append(Fact(name="The job", text=_toml("tool.flwr.app.config", run.job), code=True))
    if run.scenario:
        code.append(
            Fact(name="The scenario (simulation only)", text=_toml("tool.hedgerow.scenario", run.scenario), code=True)
        )
    lead = (
        "The same job with the same seed on the same versions gives the same model."
        if run.scenario and run.job
        else ("What the log says about how this run was started.")
    )
    return Section(
        name="again",
        title="How to get this again",
        lead=lead,
        facts=tuple(facts),
        code=tuple(code),
        terms=("digest",) if run.job_digest else (),
    )


def _toml(table: str, settings: Mapping[str, Scalar]) -> str:
    """Settings as a TOML table with dotted keys."""
    return "\n".join([f"[{table}]", *(f"{_key(key)} = {toml_literal(value)}" for key, value in settings.items())])


def _key(key: str) -> str:
    bare = all(part and part.replace("-", "").replace("_", "").isalnum() and part.isascii() for part in key.split("."))
    return key if bare else toml_literal(key)
