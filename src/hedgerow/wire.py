"""What crosses the network, as Flower records: a round's request, a site's reply, and a failure's code.

| message | record | content |
|---|---|---|
| request | `arrays` | the model, one float32 array per tensor, named and ordered as the layout |
| request | `config` | `server-round`, `rounds`, `run`, `job` (the digest) |
| reply | `update` | `flat`: the difference to the model that was sent, one (d,) float32 array |
| reply | `metrics` | `num-examples`, only without differential privacy |
| reply | `site` | `name`, and where the site's noise comes from |
| reply | `privacy` | what the site's ledger attests: plan and spending |
| reply | `failure` | `code`: the site's reason; its title is a constant text, never an exception's words |

A client that is not ours may answer as Flower's examples do: `arrays` with the full model. `read_reply` takes both.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from hedgerow.errors import CODES, Refused, Rejected
from hedgerow.update import Layout, Vector

__all__ = [
    "Attestation",
    "Failure",
    "ModelReader",
    "Reply",
    "Request",
    "failure_content",
    "model_record",
    "read_reply",
    "read_request",
    "record_bytes",
    "reply_content",
    "request_content",
]

HEADER = 4096  # more than any numpy header of a float array: an honest array is never longer than its data plus this


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the coordinator asks in a round."""

    round: int
    rounds: int
    run: str
    job_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """What a site says about its own budget; the coordinator cannot verify it, and the report says so."""

    planned_epsilon: float
    spent_epsilon: float
    limit: float
    delta: float
    noise_multiplier: float
    sampling_rate: float
    steps: int
    clip: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a reply does not count: a stable code and a constant text."""

    code: str
    reason: str

    @classmethod
    def of(cls, error: Rejected) -> Failure:
        return cls(error.code, error.message)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reply:
    """A site's answer. `update` is `None` exactly when `failure` says why.

    `examples` is the site's claim and weighs nothing by itself.
    """

    sender: int
    site: str
    update: Vector | None = None
    failure: Failure | None = None
    examples: int | None = None
    attestation: Attestation | None = None
    randomness: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    bytes: int = 0

    @property
    def unnamed(self) -> bool:
        """Whether the site did not say what it is called."""
        return self.site == _unnamed(self.sender)


def model_record(layout: Layout, vector: Vector) -> ArrayRecord:
    """The model as named arrays."""
    return ArrayRecord({name: Array(np.ascontiguousarray(part)) for name, part in layout.split(vector).items()})


def request_content(arrays: ArrayRecord, request: Request, extra: ConfigRecord | None = None) -> RecordDict:
    config = ConfigRecord(dict(extra or {}))
    config["server-round"] = request.round
    config["rounds"] = request.rounds
    config["run"] = request.run
    config["job"] = request.job_digest
    return RecordDict({"arrays": arrays, "config": config})


class ModelReader:
    """Reads a request's arrays into one vector, once for all sites of this process that got the same bytes."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen: list[bytes] = []
        self._vector: Vector | None = None

    def read(self, record: ArrayRecord) -> Vector:
        """The model as a (d,) vector, read-only.

        Raises:
            Rejected: E301 or E302 if the arrays do not fit the site's own model.
        """
        data = [array.data for array in record.values()]
        if self._vector is None or len(data) != len(self._seen) or any(a is not b for a, b in zip(data, self._seen)):
            vector = self._layout.join({name: array.numpy() for name, array in record.items()})
            vector.flags.writeable = False
            self._vector, self._seen = vector, data
        return self._vector


def read_request(content: RecordDict) -> Request:
    """A request's words.

    Raises:
        Refused: E205 if it is not a request of ours.
    """
    try:
        config = content.config_records["config"]
        number, rounds = config["server-round"], config["rounds"]
        run, digest = config["run"], config["job"]
    except KeyError:
        raise Refused("E205", "the request does not come from a Hedgerow coordinator") from None
    if not (isinstance(number, int) and isinstance(rounds, int) and isinstance(run, str) and isinstance(digest, str)):
        raise Refused("E205", "the request's round, run or job digest has a wrong type")
    return Request(round=number, rounds=rounds, run=run, job_digest=digest)


def reply_content(
    update: Vector,
    *,
    site: str,
    randomness: str = "",
    examples: int | None = None,
    attestation: Attestation | None = None,
) -> RecordDict:
    """A site's update. `examples` must stay `None` under differential privacy."""
    content = RecordDict({"update": ArrayRecord({"flat": Array(update)})})
    content["site"] = ConfigRecord({"name": site, "randomness": randomness})
    if examples is not None:
        content["metrics"] = MetricRecord({"num-examples": examples})
    if attestation is not None:
        content["privacy"] = MetricRecord(
            {name: getattr(attestation, name) for name in Attestation.__dataclass_fields__}
        )
    return content


def failure_content(code: str, *, site: str) -> RecordDict:
    """A site's refusal or failure: a code, nothing else."""
    return RecordDict({"failure": ConfigRecord({"code": code}), "site": ConfigRecord({"name": site})})


def read_reply(message: Message, *, layout: Layout, model: Vector, fixed: Collection[str] = ()) -> Reply:
    """A reply of any client, ours or one of Flower's examples, whatever it contains: never raises.

    `model` is the (d,) vector that was sent; an answer with full parameters becomes its difference to it. `fixed` names
    the integer arrays that were sent along: they may come back, and are not read.
    """
    sender = int(message.metadata.src_node_id)
    site, size = _unnamed(sender), 0
    if message.has_error():
        return Reply(sender=sender, site=site, failure=Failure("E308", CODES["E308"]))
    try:
        content = message.content
        site = _site_name(content, sender)
        size = record_bytes(content)
        code = _failure_code(content)
        if code:
            return Reply(sender=sender, site=site, failure=Failure(code, CODES[code]), bytes=size)
        metrics = _metrics(content)
        return Reply(
            sender=sender,
            site=site,
            update=_update(content, layout, model, fixed),
            examples=_examples(metrics),
            attestation=_attestation(content),
            randomness=_words(content, "randomness"),
            metrics=metrics,
            bytes=size,
        )
    except Rejected as rejection:
        return Reply(sender=sender, site=site, failure=Failure.of(rejection), bytes=size)
    except Exception:  # hostile bytes can fail in any way inside a decoder; the site is out, the round goes on
        return Reply(sender=sender, site=site, failure=Failure("E305", "the reply cannot be decoded"), bytes=size)


def record_bytes(content: RecordDict) -> int:
    """Bytes of a message's arrays, as Flower counts them."""
    return sum(record.count_bytes() for record in content.array_records.values())


def _unnamed(sender: int) -> str:
    return f"node-{sender:x}"[:21]


def _site_name(content: RecordDict, sender: int) -> str:
    return _words(content, "name") or _unnamed(sender)


def _words(content: RecordDict, key: str) -> str:
    """What a site says about itself: one short line, since it is shown on terminals and in reports."""
    text = content.config_records.get("site", ConfigRecord()).get(key, "")
    return "".join(sign for sign in text[:64] if sign.isprintable()) if isinstance(text, str) else ""


def _failure_code(content: RecordDict) -> str:
    code = content.config_records.get("failure", ConfigRecord()).get("code", "")
    if code == "":
        return ""
    return code if isinstance(code, str) and code in CODES else "E308"


def _metrics(content: RecordDict) -> dict[str, float]:
    record = content.metric_records.get("metrics", MetricRecord())
    return {name: float(value) for name, value in record.items() if isinstance(value, int | float)}


def _examples(metrics: Mapping[str, float]) -> int | None:
    claim = metrics.get("num-examples")
    if claim is None:
        return None
    if not math.isfinite(claim) or not 1 <= claim <= 2**31:
        raise Rejected("E304", f"the site claims {claim:.3g} examples")
    return int(claim)


def _attestation(content: RecordDict) -> Attestation | None:
    record = content.metric_records.get("privacy")
    if record is None:
        return None
    values = {name: record.get(name) for name in Attestation.__dataclass_fields__}
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float) and math.isfinite(value)}
    if len(numbers) != len(values):
        raise Rejected("E305", "the site's privacy attestation is incomplete")
    if min(numbers.values()) < 0 or numbers["delta"] >= 1 or numbers["sampling_rate"] > 1 or numbers["steps"] > 2**53:
        raise Rejected("E305", "the site's privacy attestation is out of range")
    return Attestation(**{**numbers, "steps": int(numbers["steps"])})  # type: ignore[arg-type]


def _update(content: RecordDict, layout: Layout, model: Vector, fixed: Collection[str]) -> Vector:
    records = content.array_records
    if "update" in records:
        arrays = records["update"]
        if tuple(arrays) != ("flat",):
            raise Rejected("E305", "the update is not one flat array")
        vector = _decode(arrays["flat"], 4 * layout.size)
        if vector.dtype != np.float32:
            raise Rejected("E302", "the update is not float32")  # a dtype can hold words of the site's
        if vector.shape != (layout.size,):
            raise Rejected("E301", f"the update has shape {vector.shape}, not ({layout.size},)")
        return vector
    if len(records) != 1:
        raise Rejected("E305", "the reply holds no update")
    (arrays,) = records.values()
    limits = {name: 4 * math.prod(shape) for name, shape in zip(layout.names, layout.shapes, strict=True)}
    if set(limits) - set(arrays):
        raise Rejected("E301", "an array of the model is missing in the reply")
    if set(arrays) - set(limits) - set(fixed):
        raise Rejected("E301", "the reply holds an array that the model does not have")
    decoded = {name: _decode(arrays[name], limit) for name, limit in limits.items()}
    return layout.join(decoded) - model


def _decode(array: Array, limit: int) -> np.ndarray:
    """The array, unless it is longer than the model's: a header that lies about its size is not read at all."""
    if len(array.data) > limit + HEADER:
        raise Rejected("E301", "an array is larger than the model's")
    return array.numpy()
