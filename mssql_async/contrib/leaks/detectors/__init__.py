"""One module a detector, each with ``detect(record)``: what was seen goes in, findings come out.

They are pure, and cost about as much as sorting what they look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ..findings import Detect, Detector, Finding
from ..record import Record
from . import (
    growth,
    orphan_session,
    result_mixup,
    retained_lease,
    shared_session,
    state_bleed,
    transaction_bleed,
)

DETECTORS: Mapping[Detector, Detect] = MappingProxyType(
    {
        Detector.SHARED_SESSION: shared_session.detect,
        Detector.RETAINED_LEASE: retained_lease.detect,
        Detector.ORPHAN_SESSION: orphan_session.detect,
        Detector.STATE_BLEED: state_bleed.detect,
        Detector.TRANSACTION_BLEED: transaction_bleed.detect,
        Detector.RESULT_MIX_UP: result_mixup.detect,
        Detector.GROWTH: growth.detect,
    }
)


def find_all(record: Record, only: Iterable[Detector] | None = None) -> list[Finding]:
    """What the detectors find (``only`` some of them), in the order of time."""
    chosen = list(DETECTORS) if only is None else list(dict.fromkeys(only))
    found = [finding for detector in chosen for finding in DETECTORS[detector](record)]
    return sorted(found, key=lambda finding: finding.at)
