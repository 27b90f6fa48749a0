"""Ctrl-C waits for the end of a block, once."""

import signal
import threading

import pytest

from hedgerow.interrupts import interrupts_wait


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_a_ctrl_c_takes_effect_when_the_block_is_through() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_wait():
        press()
        done.append("all of it")
    assert done == ["all of it"]


def test_a_second_one_takes_effect_at_once() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_wait():
        press()
        press()
        done.append("never")
    assert done == []


def test_blocks_within_blocks_wait_for_the_outermost() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_wait():
        with interrupts_wait():
            press()
        done.append("the rest, too")
    assert done == ["the rest, too"]


def test_afterwards_everything_is_as_before_also_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts_wait():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ValueError, match="its own"), interrupts_wait():
        press()
        raise ValueError("its own error matters more")
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_hears_no_signals_and_is_left_alone() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with interrupts_wait():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
