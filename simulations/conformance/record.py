"""Record level: the private steps of a job's sites, as a deployed site takes them, and as a simulation does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.privacy import RecordPlan, site_plan
from hedgerow.privacy.conformance import Batches, Finding, conformance, gaussian_noise
from hedgerow.simulations.conformance.answer import LEVEL, Part, noise_caught, rate_caught
from hedgerow.simulations.conformance.planted import record_lengths
from hedgerow.simulations.conformance.siterounds import Steps, deployed, fresh_model, joined, site_steps
from hedgerow.task import Site, Task

__all__ = ["Restart", "site_part"]

Restart = Callable[[Site], Steps]

ROUNDS = 4  # of each site, at least: reuse from round to round shows in any two
STEPS = 96  # of the largest site
NUMBERS = 4_000_000  # that are kept
TRIES = 6  # records that are planted
BESIDE = 1e-5  # of a model's movement: float32
SEEN_ENOUGH = 5  # times a record is expected, before who is drawn can be judged


def site_part(job: Job, task: Task, sites: Sequence[Site], *, restarts: Sequence[Restart] = ()) -> Part:
    """Test the private steps of the job's largest and smallest site, in this process and in every restarted one.

    Raises: Misconfigured E125 if no site has records, and what `site_plan` and `private_steps` do.
    """
    main, *others = _chosen(task, sites)
    plan, records = site_plan(job, len(task.data(main).train)), task.data(main).train
    runs = [_run(job, task, main, rounds=_rounds(task, plan))]
    runs += [_run(job, task, site, rounds=ROUNDS) for site in others]
    again = [restart(main) for restart in restarts]
    scales = [_scale(site_plan(job, len(task.data(site).train))) for site in (main, *others)]
    scales += [_scale(plan)] * len(again)
    scaled = [replace(run, sums=run.sums / scale) for run, scale in zip([*runs, *again], scales, strict=True)]
    every = joined(scaled)
    lengths = record_lengths(job, task, records, tries=TRIES)
    own = [run.sizes for run in (runs[0], *again)]
    sampled = plan.sampling_rate < 1
    present = np.maximum(every.sizes, 1)
    found = conformance(
        every.sums,
        claim=gaussian_noise(1.0),
        participants=present if present.min() < present.max() else None,
        batches=Batches(sizes=np.concatenate(own), records=plan.records, rate=plan.sampling_rate) if sampled else None,
        lengths=lengths,
        clip=plan.clip,
        level=LEVEL / 2,
    )
    findings = [*found, *_who(runs[0], plan, every), _everyone(every, plan), _beside(every)]
    checks = 2 * len(found)
    caught = noise_caught(every.sums.size, checks)
    catches = [f"noise that is {100 * caught:.2g} % too small or too large, with 99 % power"]
    if sampled:
        off = rate_caught(len(np.concatenate(own)) * plan.records, plan.sampling_rate, checks)
        catches.append(f"a sampling rate that is {100 * off:.2g} % off, and batches of a fixed size")
    return Part(
        title=f"records at {len(runs)} site{'s' if len(runs) > 1 else ''}"
        + (f" and in {len(again)} more process{'es' if len(again) > 1 else ''}" if again else ""),
        path="opacus",
        source=deployed(main)(1).description,
        releases=len(every.sums),
        numbers=every.sums.shape[1],
        findings=tuple(finding for finding in findings if finding is not None),
        catches=tuple(catches),
        unseen=(
            "a generator whose numbers look right and can still be predicted",
            "reuse of noise after a restart" if not again else "reuse of noise on other machines or after a copy",
            f"records other than the {len(lengths) // 3} whose influence was measured",
        ),
    )


def _chosen(task: Task, sites: Sequence[Site]) -> list[Site]:
    """The largest site, and the smallest if it has fewer records."""
    sizes = [(len(task.data(site).train), site) for site in sites]
    with_records = [pair for pair in sizes if pair[0]]
    if not with_records:
        raise Misconfigured("E125", "no site has records, so no private step can be taken", place="data")
    largest, smallest = (pick(with_records, key=lambda pair: pair[0]) for pick in (max, min))
    return [largest[1]] if largest[0] == smallest[0] else [largest[1], smallest[1]]


def _rounds(task: Task, plan: RecordPlan) -> int:
    """As many rounds as give enough steps, or as fit into memory."""
    size = sum(p.numel() for p in fresh_model(task).parameters() if p.requires_grad)
    steps = min(STEPS, max(1, NUMBERS // size))
    return max(ROUNDS, -(-steps // plan.steps_per_round))


def _run(job: Job, task: Task, site: Site, *, rounds: int) -> Steps:
    return site_steps(job, task, task.data(site).train, randomness=deployed(site), rounds=range(1, rounds + 1))


def _scale(plan: RecordPlan) -> float:
    return plan.noise_multiplier * plan.clip


def _who(run: Steps, plan: RecordPlan, every: Steps) -> list[Finding]:
    """Are all records drawn alike: how often each one was, over the steps, is binomial."""
    steps, rate = len(run.batches), plan.sampling_rate
    if not 0 < rate < 1 or steps * rate < SEEN_ENOUGH or steps * (1 - rate) < SEEN_ENOUGH:
        return []
    times: NDArray[np.int64] = np.bincount(np.concatenate(run.batches), minlength=plan.records)
    if times.max() > steps:
        return []  # a record twice in a batch: told by `_everyone`
    drawn = Batches(sizes=times, records=steps, rate=rate)
    checked = conformance(every.sums[:1, :1], claim=gaussian_noise(1.0), batches=drawn, level=LEVEL / 2)
    spread = next(finding for finding in checked if finding.name == "batch sizes")
    words = f"how often each record was drawn varies {spread.statistic:.3f} times as much as independent draws would"
    return [replace(spread, name="records drawn alike", meaning=words)]


def _everyone(every: Steps, plan: RecordPlan) -> Finding:
    twice = sum(len(batch) != len(np.unique(batch)) for batch in every.batches)
    return Finding(
        name="no record twice",
        statistic=float(twice),
        p=0.0 if twice else 1.0,
        passed=not twice,
        meaning=f"{twice} of {len(every.batches)} batches have a record twice",
    )


def _beside(every: Steps) -> Finding:
    passed = every.beside <= BESIDE
    return Finding(
        name="nothing beside the sums",
        statistic=every.beside,
        p=1.0 if passed else 0.0,
        passed=passed,
        meaning=f"the trained models are {every.beside:.1e} of their movement away from what the noisy sums alone make",
    )
