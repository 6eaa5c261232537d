from __future__ import annotations

import os
import signal

import pytest

from mrouter.lab.interrupts import InterruptGuard


@pytest.fixture
def guard():
    guard = InterruptGuard()
    guard.install()
    yield guard
    guard.restore()


def test_ctrl_c_is_a_keyboard_interrupt(guard):
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_request_to_end_is_an_exit_with_the_signals_code(guard):
    with pytest.raises(SystemExit) as caught:
        os.kill(os.getpid(), signal.SIGTERM)

    assert caught.value.code == 128 + signal.SIGTERM


def test_signals_wait_for_the_end_of_a_deferred_section(guard):
    done = []

    def run():
        with guard.deferred():
            with guard.deferred():
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGINT)
            done.append("section")

    with pytest.raises(SystemExit):
        run()
    assert done == ["section"]


def test_handlers_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    guard = InterruptGuard()
    guard.install()
    guard.restore()

    assert signal.getsignal(signal.SIGTERM) is before
