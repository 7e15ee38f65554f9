"""Contexts left threads, file descriptors, sessions or memory behind.

The samples of a process are taken when nothing runs in it. The first third is warm-up. Of the
rest, each size is drawn as a straight line over the number of contexts run: its slope is the
median of the slopes between any two samples. A line that rises is no leak yet: a pool fills up,
a cache gets warm, and then they stay. So the rise must also go on to the end, which the samples
of the second half alone have to show. And it must lead beyond what the process has been before:
threads that had nothing to do have ended, and come back.

A pool need not fill up in one go. It has as many threads (sessions, ...) as were ever needed at a
time, and every wave may happen to need more than those before it. Such new highs get rare, while
those of a leak do not: so there must be more of them than chance brings (:mod:`.trend`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..findings import Detector, Finding
from ..record import Record, Sample
from .trend import fewest_new_highs, new_highs, slope_of

#: Of something that never grows on, one size of one process in so many may be taken for a leak.
CHANCE = 1 / 800
#: With fewer samples of a process nothing is said of it: they cannot rule out chance.
LEAST_SAMPLES = 7
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limit:
    """What a process may grow by."""

    what: str
    size: Callable[[Sample], int]
    per_context: float
    """A steeper slope is a leak ..."""
    in_all: float
    """... once it has come to that much over the contexts looked at."""
    steady: float | None
    """So much is a leak at any slope, where it was never less than before."""
    show: Callable[[float], str]


def _count(number: float) -> str:
    return f"{number:.0f}"


def _mebibytes(number: float) -> str:
    return f"{number / MIB:.1f} MiB"


LIMITS = (
    Limit("threads", lambda sample: sample.threads, 0.01, 4, 8, _count),
    Limit("file descriptors", lambda sample: sample.descriptors, 0.01, 4, 8, _count),
    Limit("sessions", lambda sample: sample.sessions, 0.01, 4, 8, _count),
    Limit("memory", lambda sample: sample.memory, 2048, 16 * MIB, None, _mebibytes),
)


def enough_samples(samples: Iterable[Sample]) -> bool:
    """Whether anything can be said of at least one process."""
    counts = Counter(sample.process for sample in samples)
    return any(count >= LEAST_SAMPLES for count in counts.values())


def detect(record: Record) -> Iterator[Finding]:
    """One finding for each process and size."""
    processes: dict[int, list[Sample]] = {}
    for sample in record.samples:
        processes.setdefault(sample.process, []).append(sample)
    for process, samples in sorted(processes.items()):
        before = [sample for sample in samples if sample.at < record.watched_from]
        samples = [sample for sample in samples if sample.at >= record.watched_from]
        if len(samples) < LEAST_SAMPLES:
            continue
        samples.sort(key=lambda sample: (sample.contexts, sample.at))
        for limit in LIMITS:
            grown = _growth(limit, samples)
            if grown is not None and not _was_as_large(limit, before, samples[-1]):
                yield _finding(record, process, samples, limit, grown)


def _growth(limit: Limit, samples: Sequence[Sample]) -> float | None:
    """The slope, where it is a leak."""
    points = [(sample.contexts, limit.size(sample)) for sample in samples]
    sizes = [size for _contexts, size in points]
    begins, halfway = len(points) // 3, len(points) // 2
    span = points[-1][0] - points[begins][0]
    slope, late_slope = slope_of(points[begins:]), slope_of(points[halfway:])
    steep = (
        slope > limit.per_context
        and late_slope > limit.per_context
        and slope * span >= limit.in_all
    )
    grown = sizes[-1] - sizes[begins]
    steady = (
        limit.steady is not None
        and grown >= limit.steady
        and all(before <= after for before, after in pairwise(sizes[begins:]))
        and 3 * (sizes[-1] - sizes[halfway]) >= grown
    )
    if not steep and not steady:
        return None
    after_warm_up = begins + 1
    enough = fewest_new_highs(after_warm_up, len(sizes), CHANCE)
    return slope if new_highs(sizes, after_warm_up) >= enough else None


def _was_as_large(limit: Limit, before: Sequence[Sample], now: Sample) -> bool:
    """Whether the process only comes back to a size that it has had, and has left again."""
    return any(limit.size(sample) >= limit.size(now) for sample in before)


def _finding(
    record: Record, process: int, samples: Sequence[Sample], limit: Limit, slope: float
) -> Finding:
    first, last = samples[len(samples) // 3], samples[-1]
    return Finding(
        Detector.GROWTH,
        f"The {limit.what} of process {process} grew from {limit.show(limit.size(first))} to "
        f"{limit.show(limit.size(last))} over {last.contexts - first.contexts} contexts and "
        f"did not stop ({_rate(limit, slope)}).",
        record.scenario,
        record.seed,
        last.at,
    )


def _rate(limit: Limit, slope: float) -> str:
    if limit.show is _mebibytes:
        return f"{slope / 1024:.1f} KiB a context"
    return f"{slope * 100:.1f} per 100 contexts"
