"""The last section: everything that is needed to get the run again, as text to copy."""

import json
from collections.abc import Mapping

from hedgerow.report.content import Fact, Section
from hedgerow.report.summary import RunSummary, Scalar

__all__ = ["again", "toml"]


def again(run: RunSummary) -> Section:
    """The job and the scenario as TOML, the digest, the seed, the versions, the command."""
    facts = []
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
        facts.append(Fact(name="attacking sites", text=", ".join(run.attacker_sites)))
    code = []
    if run.command:
        code.append(Fact(name="The command", text=run.command, code=True))
    if run.job:
        code.append(Fact(name="The job", text=toml("tool.flwr.app.config", run.job), code=True))
    if run.scenario:
        code.append(
            Fact(name="The scenario (simulation only)", text=toml("tool.hedgerow.scenario", run.scenario), code=True)
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


def toml(table: str, settings: Mapping[str, Scalar]) -> str:
    """Settings as a TOML table with dotted keys."""
    return "\n".join([f"[{table}]", *(f"{_key(key)} = {_literal(value)}" for key, value in settings.items())])


def _key(key: str) -> str:
    bare = all(part and part.replace("-", "").replace("_", "").isalnum() and part.isascii() for part in key.split("."))
    return key if bare else json.dumps(key)


def _literal(value: Scalar) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # a JSON string is a TOML basic string
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)
