"""Timers of associations go by a steady clock."""

import time

import pytest
from pynetdicom import AE
from pynetdicom.association import Association

from node.dicom.upper_layer.provider import StreamingDUL


@pytest.mark.parametrize("set_by_s", [3600, -3600])
def test_a_clock_that_is_set_ends_no_association_and_keeps_none(set_by_s: int, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = StreamingDUL(Association(AE(), "acceptor"))  # type: ignore[arg-type]
    timers, now = (provider._idle_timer, provider.artim_timer), [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    wall = time.time()
    for timer in timers:
        timer.timeout = 60
        timer.start()
    monkeypatch.setattr(time, "time", lambda: wall + set_by_s)
    now[0] += 59
    assert [(timer.expired, timer.remaining) for timer in timers] == [(False, 1.0)] * 2
    now[0] += 2
    assert [timer.expired for timer in timers] == [True, True]
    for timer in timers:
        timer.restart()
    now[0] += 10
    timers[0].stop()
    now[0] += 100
    assert (timers[0].remaining, timers[1].expired) == (50.0, True)
    provider.close_wakers()
