"""All cores on one table, without its bits depending on how many there are.

Work is cut into spans whose bounds depend on the table alone, each done by one thread, with one thread of BLAS; results
come back in the order of the spans. So sums are the same, bit for bit, on one core and on many.
"""

import ctypes
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["WORTH", "allowed", "at_most", "busy", "in_order", "one_blas_thread"]

A = TypeVar("A")
B = TypeVar("B")

WORTH = 1 << 22  # numbers to be read; with fewer, waking a thread costs more than it saves

_limit: ContextVar[int | None] = ContextVar("hedgerow_aggregation_threads", default=None)
_worker = threading.local()
_lock = threading.Lock()
_pools: "dict[int, ThreadPoolExecutor]" = {}
_alone: list[int] = []  # BLAS's threads before each of the calls that now hold it at one


@contextmanager
def at_most(threads: int) -> Iterator[None]:
    """Rules that are called inside use no more than so many threads.

    >>> with at_most(1):
    ...     allowed()
    1
    """
    before = _limit.set(max(threads, 1))
    try:
        yield
    finally:
        _limit.reset(before)


def allowed() -> int:
    """Threads that a rule may use: the process's cores, or fewer where a caller or the environment says so.

    The least of `OMP_NUM_THREADS`, the cores that the process may run on, and what `at_most` says; where nobody said,
    torch's own number if torch is loaded. One inside a thread that is itself at work for a rule.
    """
    if busy():
        return 1
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    told = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if told.isdecimal() and int(told) > 0:
        limits.append(int(told))
    here = _limit.get()
    torch = sys.modules.get("torch")
    if here is not None:
        limits.append(here)
    elif torch is not None and hasattr(torch, "get_num_threads"):
        limits.append(torch.get_num_threads())
    return min(limits)


def busy() -> bool:
    """Whether this is a thread at work for a rule, beside others."""
    return getattr(_worker, "busy", False)


def in_order(work: Callable[[A], B], parts: Iterable[A], *, numbers: int) -> Iterator[B]:
    """`work` on every part, its results in the parts' order, by several threads if there are `WORTH` numbers to read.

    `parts` are drawn one by one in the caller's thread, no more than a few ahead of the results, so that parts that are
    made on the way do not pile up. `work` must not depend on what it did with other parts.
    """
    threads = allowed() if numbers >= WORTH else 1
    with one_blas_thread() as alone:
        if threads == 1 or not alone:  # a BLAS that cannot be held to one thread has those that the machine offers
            yield from map(work, parts)
            return
        pool = _pool(threads)
        running: deque[Future[B]] = deque()
        try:
            for part in parts:
                running.append(pool.submit(work, part))
                if len(running) > threads + 1:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            while running:  # left behind by a caller that stopped: nothing may still read the rows
                if not running[0].cancel():
                    running[0].exception()
                running.popleft()


def _pool(threads: int) -> "ThreadPoolExecutor":
    from concurrent.futures import ThreadPoolExecutor

    with _lock:
        if threads not in _pools:
            _pools[threads] = ThreadPoolExecutor(threads, "hedgerow-rows", initializer=_mark)
        return _pools[threads]


def _mark() -> None:
    _worker.busy = True


@contextmanager
def one_blas_thread() -> Iterator[bool]:
    """BLAS at one thread while any caller is inside; False where numpy's BLAS cannot be told."""
    found = _blas()
    if found is None:
        yield False
        return
    count, hold = found
    with _lock:
        _alone.append(count() if not _alone else _alone[0])
        hold(1)
    try:
        yield True
    finally:
        with _lock:
            before = _alone.pop() if _alone else count()
            if not _alone:
                hold(before)


@cache
def _blas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """Reads and sets the number of threads of the OpenBLAS that numpy was built with."""
    try:
        library = ctypes.CDLL(cast(str, np._core._multiarray_umath.__file__))  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return None
    for before, after in (("scipy_", "64_"), ("", "64_"), ("scipy_", ""), ("", "")):
        try:
            count = library[f"{before}openblas_get_num_threads{after}"]
            hold = library[f"{before}openblas_set_num_threads{after}"]
        except AttributeError:
            continue
        hold.restype = None
        return cast(Callable[[], int], count), cast(Callable[[int], None], hold)
    return None


def _forget() -> None:
    """A forked child has none of the threads."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()
    if _alone:
        before, found = _alone[0], _blas()
        _alone.clear()
        if found is not None:
            found[1](before)
    _worker.busy = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
