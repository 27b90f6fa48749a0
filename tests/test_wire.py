"""What a coordinator makes of whatever a site sends, and a site of whatever a coordinator sends."""

import io
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hedgerow.errors import CODES, Refused, Rejected
from hedgerow.flowercompat import name_message, over_the_wire, task_identity
from hedgerow.update import Layout, Vector
from hedgerow.wire import (
    Attestation,
    ModelReader,
    Reply,
    Request,
    failure_content,
    model_record,
    read_reply,
    read_request,
    record_bytes,
    reply_content,
    request_content,
)

LAYOUT = Layout(names=("w", "b"), shapes=((2, 3), (2,)))
MODEL: Vector = np.arange(8, dtype=np.float32)
SENDER = 0xABC
ATTESTED = Attestation(
    planned_epsilon=3.0,
    spent_epsilon=1.0,
    limit=3.0,
    delta=1e-4,
    noise_multiplier=2.0,
    sampling_rate=0.1,
    steps=60,
    clip=1.0,
)


@pytest.fixture(autouse=True)
def as_server() -> Iterator[None]:
    with task_identity(run_id=1, node_id=1, task_id=1):
        yield


def answer(content: RecordDict | Error, *, sender: int = SENDER) -> Message:
    request = Message(RecordDict(), sender, "train")
    name_message(request, "request")
    return Message(content, reply_to=request)


def read(content: RecordDict | Error, *, fixed: tuple[str, ...] = (), wire: bool = False) -> Reply:
    message = answer(content)
    name_message(message, "reply")
    return read_reply(over_the_wire(message) if wire else message, layout=LAYOUT, model=MODEL, fixed=fixed)


def raw(data: bytes, *, stype: str = "numpy.ndarray") -> Array:
    return Array("float32", (8,), stype, data)


def npy(header: str, data: bytes = b"") -> bytes:
    """A numpy file whose header says what we like."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def flat(array: Array) -> RecordDict:
    return RecordDict({"update": ArrayRecord({"flat": array})})


def full(**arrays: np.ndarray) -> RecordDict:
    return RecordDict({"arrays": ArrayRecord({name: Array(value) for name, value in arrays.items()})})


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{"secret": 42}], dtype=object), allow_pickle=True)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, flat=np.zeros(100_000, np.float32))
    return file.getvalue()


def code_of(reply: Reply) -> str:
    assert (reply.update is None) == (reply.failure is not None)
    return "" if reply.failure is None else reply.failure.code


def test_a_request_survives_the_network() -> None:
    request = Request(round=3, rounds=20, run="r", job_digest="ab" * 32)
    content = request_content(model_record(LAYOUT, MODEL), request, ConfigRecord({"lr": 0.1}))
    message = Message(content, 7, "train")
    name_message(message, "m")
    arrived = over_the_wire(message).content
    assert read_request(arrived) == request
    assert arrived.config_records["config"]["lr"] == 0.1
    assert np.array_equal(ModelReader(LAYOUT).read(arrived.array_records["arrays"]), MODEL)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"server-round": 1, "rounds": 2, "run": "r"},
        {"server-round": "1", "rounds": 2, "run": "r", "job": "d"},
        {"server-round": 1, "rounds": 2.5, "run": "r", "job": "d"},
        {"server-round": 1, "rounds": 2, "run": b"r", "job": "d"},
    ],
)
def test_a_request_that_is_not_ours_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        read_request(RecordDict({"config": ConfigRecord(config)}))
    assert caught.value.code == "E205"


@pytest.mark.parametrize("wire", [False, True])
def test_an_update_survives_the_network(wire: bool) -> None:
    update = np.array([1, -0.0, 1e-45, 3e38, -2, 0.5, 7, 8], np.float32)
    content = reply_content(update, site="ward-7", randomness="seeded", examples=12, attestation=ATTESTED)
    reply = read(content, wire=wire)
    assert code_of(reply) == "" and reply.update is not None
    assert reply.update.tobytes() == update.tobytes()
    assert (reply.sender, reply.site, reply.examples) == (SENDER, "ward-7", 12)
    assert (reply.attestation, reply.randomness) == (ATTESTED, "seeded")
    assert reply.bytes == record_bytes(content) >= update.nbytes


def test_full_parameters_become_the_difference_whatever_their_order() -> None:
    w, b = np.full((2, 3), 2, np.float32), np.full(2, 3, np.float32)
    expected = np.concatenate([w.ravel(), b]) - MODEL
    for content in (full(w=w, b=b), full(b=b, w=w), full(w=np.asfortranarray(w), b=b)):
        reply = read(content)
        assert reply.update is not None and np.array_equal(reply.update, expected)


def test_integer_arrays_that_were_sent_may_come_back_and_are_not_read() -> None:
    w, b = np.zeros((2, 3), np.float32), np.zeros(2, np.float32)
    content = full(w=w, seen=np.array(5), b=b)
    content.array_records["arrays"]["seen"] = raw(b"garbage")
    assert code_of(read(content, fixed=("seen",))) == ""
    assert code_of(read(content)) == "E301"


BAD: dict[str, tuple[str, Callable[[], RecordDict | Error]]] = {
    "an error of Flower's": ("E308", lambda: Error(code=2, reason="secret patient 42")),
    "nothing": ("E305", RecordDict),
    "no arrays": ("E305", lambda: RecordDict({"metrics": MetricRecord({"num-examples": 3})})),
    "two array records": ("E305", lambda: RecordDict({"a": ArrayRecord(), "b": ArrayRecord()})),
    "an empty update": ("E305", lambda: RecordDict({"update": ArrayRecord()})),
    "an update of two arrays": (
        "E305",
        lambda: RecordDict({"update": ArrayRecord({"flat": Array(MODEL), "more": Array(MODEL)})}),
    ),
    "one number short": ("E301", lambda: flat(Array(MODEL[:7]))),
    "one number more": ("E301", lambda: flat(Array(np.zeros(9, np.float32)))),
    "a matrix": ("E301", lambda: flat(Array(MODEL.reshape(2, 4)))),
    "a scalar": ("E301", lambda: flat(Array(np.array(1, np.float32)))),
    "ten times the size": ("E301", lambda: flat(Array(np.zeros(80, np.float32)))),
    "far beyond the size": ("E301", lambda: flat(Array(np.zeros(100_000, np.float32)))),
    "a megabyte of garbage, which nobody decodes": ("E301", lambda: flat(raw(b"x" * 1_000_000))),
    "float64": ("E302", lambda: flat(Array(MODEL.astype(np.float64)))),
    "float16": ("E302", lambda: flat(Array(MODEL.astype(np.float16)))),
    "big-endian": ("E302", lambda: flat(Array(MODEL.astype(">f4")))),
    "integers": ("E302", lambda: flat(Array(MODEL.astype(np.int32)))),
    "complex": ("E302", lambda: flat(Array(MODEL.astype(np.complex64)))),
    "text": ("E302", lambda: flat(Array(np.array(["a"] * 8)))),
    "a structure": ("E302", lambda: flat(Array(np.zeros(8, [("x", "<f4")])))),
    "garbage": ("E305", lambda: flat(raw(b"\x00" * 64))),
    "no bytes": ("E305", lambda: flat(raw(b""))),
    "a pickle": ("E305", lambda: flat(raw(b"\x80\x04K*."))),
    "an object array": ("E305", lambda: flat(raw(pickled()))),
    "a zip of arrays": ("E305", lambda: flat(raw(zipped()))),
    "another serialisation": ("E305", lambda: flat(raw(Array(MODEL).data, stype="torch"))),
    "a truncated array": ("E305", lambda: flat(raw(Array(MODEL).data[:-1]))),
    "a header that claims a terabyte": (
        "E305",
        lambda: flat(raw(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (250000000000,)}", MODEL.tobytes()))),
    ),
    "a header that claims a gigabyte": (
        "E305",
        lambda: flat(raw(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (250000000,)}", MODEL.tobytes()))),
    ),
    "a header that claims less": (
        "E301",
        lambda: flat(raw(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,)}", MODEL.tobytes()))),
    ),
    "a header with a negative size": (
        "E305",
        lambda: flat(raw(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-8,)}", MODEL.tobytes()))),
    ),
    "a header that claims objects": (
        "E305",
        lambda: flat(raw(npy("{'descr': '|O', 'fortran_order': False, 'shape': (8,)}", MODEL.tobytes()))),
    ),
    "a header of items without a size": (
        "E302",
        lambda: flat(raw(npy("{'descr': '|V0', 'fortran_order': False, 'shape': (8,)}"))),
    ),
    "a deeply nested header": ("E305", lambda: flat(raw(npy("-" * 4000 + "1")))),
    "a header that is code": ("E305", lambda: flat(raw(npy("__import__('os').getpid()")))),
    "a layer missing": ("E301", lambda: full(w=np.zeros((2, 3), np.float32))),
    "a layer too many": (
        "E301",
        lambda: full(w=np.zeros((2, 3), np.float32), b=np.zeros(2, np.float32), c=np.zeros(2, np.float32)),
    ),
    "a layer transposed": ("E301", lambda: full(w=np.zeros((3, 2), np.float32), b=np.zeros(2, np.float32))),
    "a layer of float64": ("E302", lambda: full(w=np.zeros((2, 3)), b=np.zeros(2, np.float32))),
    "a layer ten thousand times the size": (
        "E301",
        lambda: full(w=np.zeros((200, 300), np.float32), b=np.zeros(2, np.float32)),
    ),
    "part of an attestation": ("E305", lambda: attested({"clip": 1.0})),
    "an attestation that is no number": ("E305", lambda: attested({**whole(), "spent_epsilon": math.nan})),
    "an attestation below zero": ("E305", lambda: attested({**whole(), "spent_epsilon": -1.0})),
    "an attestation of a delta that allows everything": ("E305", lambda: attested({**whole(), "delta": 1.0})),
    "an attestation of more steps than there are": ("E305", lambda: attested({**whole(), "steps": 1e300})),
    "an attestation of lists": ("E305", lambda: attested({**whole(), "steps": [1, 2]})),
    "a failure nobody knows": ("E308", lambda: RecordDict({"failure": ConfigRecord({"code": "secret patient 42"})})),
    "a failure that is a number": ("E308", lambda: RecordDict({"failure": ConfigRecord({"code": 201})})),
    "a full budget": ("E201", lambda: failure_content("E201", site="ward-7")),
}


def whole() -> dict[str, int | float | list[int] | list[float]]:
    return {name: getattr(ATTESTED, name) for name in Attestation.__dataclass_fields__}


def attested(values: dict[str, int | float | list[int] | list[float]]) -> RecordDict:
    content = reply_content(MODEL, site="ward-7")
    content["privacy"] = MetricRecord(values)
    return content


@pytest.mark.parametrize("wire", [False, True])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_reply_gets_a_code_and_a_constant_text(name: str, wire: bool) -> None:
    code, make = BAD[name]
    reply = read(make(), wire=wire)
    assert code_of(reply) == code
    assert reply.failure is not None and "secret" not in reply.failure.reason


@pytest.mark.parametrize("claim", [0, -1, 2**63 - 1, 2**31 + 1, 10**12, 0.5, -0.0, 1e300, math.inf, math.nan])
def test_an_impossible_number_of_examples_is_rejected(claim: float) -> None:
    content = reply_content(MODEL, site="s")
    content["metrics"] = MetricRecord({"num-examples": claim})
    assert code_of(read(content, wire=True)) == "E304"


def test_a_number_no_protocol_can_carry_is_rejected_too() -> None:
    for claim in (2**63, 10**400):
        content = reply_content(MODEL, site="s")
        content["metrics"] = MetricRecord({"num-examples": claim})
        assert code_of(read(content)) in ("E304", "E305")


def test_a_list_of_examples_is_no_claim() -> None:
    content = reply_content(MODEL, site="s")
    content["metrics"] = MetricRecord({"num-examples": [5, 6]})
    assert read(content).examples is None


def test_a_site_without_a_name_is_called_after_its_node() -> None:
    names: list[Any] = ["", 5, b"x", ["a", "b"]]
    for name in names:
        content = flat(Array(MODEL))
        content["site"] = ConfigRecord({"name": name})
        reply = read(content)
        assert reply.site == "node-abc" and reply.unnamed


def test_a_name_is_one_short_line_that_no_terminal_obeys() -> None:
    content = flat(Array(MODEL))
    content["site"] = ConfigRecord(
        {"name": "\x1b[2Jward\n7\u202e\ud800" + "x" * 500, "randomness": "a\r" + "b" * 10**6}
    )
    reply = read(content)
    assert reply.site.startswith("[2Jward7xx") and len(reply.site) <= 64
    assert reply.site.isprintable() and reply.randomness.isprintable() and len(reply.randomness) <= 64


def test_arrays_that_are_not_even_bytes_are_rejected() -> None:
    content = flat(Array(MODEL))
    content.array_records["update"]["flat"].data = None  # type: ignore[assignment]
    assert code_of(read(content)) == "E305"


def test_a_model_is_read_once_and_cannot_be_changed_by_who_reads_it() -> None:
    record, reader = model_record(LAYOUT, MODEL), ModelReader(LAYOUT)
    first = reader.read(record)
    assert reader.read(ArrayRecord(dict(record))) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 9
    other = model_record(LAYOUT, MODEL + 1)
    assert np.array_equal(reader.read(other), MODEL + 1)
    assert np.array_equal(reader.read(record), MODEL)


def test_a_model_of_another_shape_is_rejected_by_the_site() -> None:
    with pytest.raises(Rejected, match="names"):
        ModelReader(LAYOUT).read(ArrayRecord({"w": Array(np.zeros((2, 3), np.float32))}))


arrays = st.one_of(
    st.binary(max_size=200).map(raw),
    st.builds(lambda cut, tail: raw(Array(MODEL).data[:cut] + tail), st.integers(0, 160), st.binary(max_size=40)),
    st.builds(
        lambda place, value: raw(Array(MODEL).data[:place] + bytes([value]) + Array(MODEL).data[place + 1 :]),
        st.integers(0, 159),
        st.integers(0, 255),
    ),
    st.builds(lambda text, data: raw(npy(text, data)), st.text(max_size=80), st.binary(max_size=64)),
    st.builds(
        lambda descr, shape, data: raw(npy(f"{{'descr': {descr!r}, 'fortran_order': True, 'shape': {shape!r}}}", data)),
        st.sampled_from(["<f4", ">f4", "|O", "|V0", "<U0", "<f8", "?", "M8[s]", [("a", "<f4")], "x"]),
        st.lists(st.integers(-2, 2**40), max_size=4).map(tuple),
        st.binary(max_size=64),
    ),
    st.lists(st.floats(width=32), max_size=12).map(lambda values: Array(np.array(values, np.float32))),
)
words = st.one_of(st.text(max_size=8), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=8), st.booleans())
numbers = st.one_of(st.integers(), st.floats(), st.lists(st.floats(), max_size=3))


@st.composite
def contents(draw: st.DrawFn) -> RecordDict:
    content = RecordDict()
    for name in draw(st.sets(st.sampled_from(["update", "arrays", "x"]))):
        keys = st.sampled_from(["flat", "w", "b", "c"])
        content[name] = ArrayRecord(draw(st.dictionaries(keys, arrays, max_size=4)))
    for name in draw(st.sets(st.sampled_from(["site", "failure", "config"]))):
        told: dict[str, Any] = draw(st.dictionaries(st.sampled_from(["name", "code", "randomness"]), words))
        content[name] = ConfigRecord(told)
    for name in draw(st.sets(st.sampled_from(["metrics", "privacy"]))):
        keys = st.sampled_from(["num-examples", *Attestation.__dataclass_fields__])
        measured: dict[str, Any] = draw(st.dictionaries(keys, numbers))
        content[name] = MetricRecord(measured)
    return content


@pytest.mark.filterwarnings("ignore:Reading `.npy`")
def test_a_thousand_damaged_arrays_raise_nothing() -> None:
    rng = np.random.default_rng(5)
    good = Array(MODEL).data
    for _ in range(1000):
        bad = bytearray(good[: rng.integers(len(good) + 1)] if rng.random() < 0.3 else good)
        for place in rng.integers(max(len(bad), 1), size=rng.integers(1, 6)):
            bad[place : place + 1] = rng.bytes(int(rng.integers(0, 4)))
        assert code_of(read(flat(raw(bytes(bad))))) in ("", "E301", "E302", "E305")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contents())
def test_no_reply_whatever_it_holds_raises(content: RecordDict) -> None:
    with task_identity(run_id=1, node_id=1, task_id=1):
        reply = read(content)
    code = code_of(reply)
    assert code == "" or code in CODES
    if reply.update is not None:
        assert reply.update.shape == (LAYOUT.size,) and reply.update.dtype == np.float32
