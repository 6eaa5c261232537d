from __future__ import annotations

import gc

import pytest

from mrouter.garbage import pause_collection


def test_collection_goes_on_after_a_pause_even_behind_an_error():
    def fail():
        with pause_collection():
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert gc.isenabled()


def test_what_was_off_before_stays_off():
    gc.disable()
    try:
        with pause_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
