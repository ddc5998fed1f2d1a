from __future__ import annotations

import signal
import threading

import pytest

from lab.interrupts import undisturbed


def test_an_interrupt_of_the_clean_up_waits_until_it_is_done() -> None:
    done = []

    def clean_up() -> None:
        with undisturbed():
            # To this thread: a signal to the process would be taken by another of the test runner's threads.
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        clean_up()

    assert done == ["all of it"]
