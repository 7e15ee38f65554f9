"""The pool alone, beside other projects' pools: ``python -m loadtests.bench.pool``.

All on the same stub connections, in one process and one run, taking turns. What the figures
mean, and what they do not, is in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from mssql_async.pool.settings import PoolSettings

from . import peers
from .candidates import (
    Make,
    make_floor,
    make_floor_with_queue,
    make_ours,
    make_ours_watching,
)
from .ending import run_main
from .machine import Machine
from .peer_pools import PEERS, Peer
from .plots import SHOWN_STALE
from .pool_measures import (
    Contention,
    Contest,
    Cost,
    Order,
    Recovery,
    contended,
    order,
    recovery,
    uncontended,
)
from .written import writer

MODULE = "loadtests.bench.pool"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured. Times are in seconds."""

    turns: int = 240
    cycles: int = 500
    depth: int = 20
    """Python frames that call the pool; a Django view's query has about as many above it."""
    contest: Contest = field(default_factory=Contest)
    stale: tuple[int, ...] = tuple(range(1, 21))
    idle: float = PoolSettings().health_check_window + 0.1
    limit: float = 30.0
    """After that long, a recovery is given no further callers."""


@dataclass(slots=True)
class Result:
    """A whole run."""

    machine: Machine
    sizes: Sizes
    uncontended: list[Cost] = field(default_factory=list)
    contended: list[Contention] = field(default_factory=list)
    order: list[Order] = field(default_factory=list)
    recovery: list[Recovery] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Who took no part, and why."""


@dataclass(frozen=True, slots=True)
class Field:
    """Who takes part in what. The floors take part where there is one."""

    plain: tuple[Make, ...] = (make_floor, make_ours, make_ours_watching)
    contending: tuple[Make, ...] = (make_floor_with_queue, make_ours)
    queueing: tuple[Make, ...] = (make_ours,)
    checking: tuple[Make, ...] = ()
    """Peers that recover; the driver's word changes nothing for them."""
    distributions: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def with_peers(peers: Sequence[Peer] = PEERS) -> Field:
    """This project's pool and those of the others that are installed."""
    there = [each for each in peers if all(map(find_spec, each.modules))]
    others = tuple(make for each in there for make in each.makes)
    alone = Field()
    return Field(
        plain=alone.plain + others,
        contending=alone.contending + others,
        queueing=alone.queueing + others,
        checking=tuple(each.makes[0] for each in there),
        distributions=tuple(name for each in there for name in each.distributions),
        left_out=tuple(
            f"{', '.join(each.modules)}: not installed" for each in peers if each not in there
        ),
    )


async def run(
    taking_part: Field,
    sizes: Sizes,
    command: str,
    tell: Callable[[Result], None] = lambda _: None,
) -> Result:
    """Everything, one after the other; ``tell`` hears what there is after each."""
    result = Result(Machine.this(command, taking_part.distributions), sizes)
    result.left_out += taking_part.left_out
    result.uncontended = await uncontended(
        taking_part.plain, sizes.turns, sizes.cycles, sizes.depth
    )
    tell(result)
    result.contended = await contended(taking_part.contending, sizes.contest)
    tell(result)
    result.order = await order(taking_part.queueing, sizes.contest.contenders)
    tell(result)
    for announced, makes in (
        (True, (make_ours,)),
        (False, (make_ours, *taking_part.checking)),
    ):
        result.recovery += await recovery(
            makes, sizes.stale, announced=announced, idle=sizes.idle, limit=sizes.limit
        )
    tell(result)
    return result


# --- in words ------------------------------------------------------------------------------


def report(result: Result) -> str:
    """The tables."""
    sizes = result.sizes
    contest = sizes.contest
    lines = [
        result.machine.in_words(),
        *(f"left out: {each}" for each in result.left_out),
        "",
        f"One acquire and release, nobody else there, called from {sizes.depth} frames deep: "
        f"{sizes.turns} turns of {sizes.cycles:,}",
        f"{'':27} {'median us':>10} {'fastest us':>11} {'to ours':>8}",
    ]
    lines += [
        f"{cost.name:27} {cost.median:10.2f} {cost.fastest:11.2f} {cost.ratio:7.2f}x"
        for cost in result.uncontended
    ]
    lines += [
        "",
        f"{contest.contenders} contenders for {contest.connections} connections; each holds one "
        f"for {contest.hold * 1000:g} ms, then stays away for {contest.pause * 1000:g} ms",
        f"Waits in ms; medians of {contest.rounds} rounds of {contest.seconds:g} s",
        f"{'':24} {'':8} {'leases/s':>9} {'p50':>7} {'p99':>7} {'longest':>8} "
        f"{'longest/p50':>12} {'least served':>13} {'most':>6}",
    ]
    lines += [
        f"{each.name:24} {each.kind:8} {each.leases_per_second:9,.0f} {each.p50:7.2f} "
        f"{each.p99:7.2f} {each.longest:8.2f} {each.longest_to_median:11.1f}x "
        f"{each.fewest:13.0%} {each.most:6.0%}"
        for each in result.contended
    ]
    lines += [
        "",
        f"{contest.contenders} wait in a known order for one connection, whose holder gives it "
        "back and asks again at once",
        f"{'':24} {'served out of order':>20} {'overtaken by the newcomer':>26}",
    ]
    lines += [
        f"{each.name:24} {each.out_of_order:20} {each.overtaken_by_newcomers:26}"
        for each in result.order
    ]
    lines += [
        "",
        "n idle connections are stale after a failover, the server is back; n callers come, "
        f"one after the other. No more come after {sizes.limit:g} s ('not asked').",
        f"{'':36} {'n':>3} {'first served':>13} {'failed proofs':>14} {'logins':>7} "
        f"{'errors':>7} {'not asked':>10}",
    ]
    lines += [_recovery_line(each) for each in result.recovery if each.stale in SHOWN_STALE]
    return "\n".join(lines)


def _recovery_line(each: Recovery) -> str:
    name = f"{each.name}, peer hung up" if each.announced else each.name
    first = each.first_served_after
    served = "nobody" if first is None else f"{first * 1000:.1f} ms"
    return (
        f"{name:36} {each.stale:3} {served:>13} {each.failed_proofs:14} {each.logins:7} "
        f"{each.errors:7} {each.not_asked:10}"
    )


# --- the command ---------------------------------------------------------------------------


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    default = Sizes()
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--alone", action="store_true", help="without other projects' pools")
    parser.add_argument("--turns", type=int, default=default.turns)
    parser.add_argument("--cycles", type=int, default=default.cycles, help="in each turn")
    parser.add_argument("--depth", type=int, default=default.depth, help="frames above the call")
    contest = default.contest
    parser.add_argument("--contenders", type=int, default=contest.contenders)
    parser.add_argument("--hold", type=float, default=contest.hold, help="seconds")
    parser.add_argument("--pause", type=float, default=contest.pause, help="seconds")
    parser.add_argument("--seconds", type=float, default=contest.seconds, help="of a round")
    parser.add_argument("--rounds", type=int, default=contest.rounds)
    parser.add_argument(
        "--limit", type=float, default=default.limit, help="seconds for one recovery"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    if options.json:
        options.json = options.json.absolute()
    if not options.alone and not peers.is_inside():
        try:
            return peers.run_with(peers.POOLS, MODULE, arguments)
        except subprocess.CalledProcessError:
            print("No other pool can be installed: measuring without.", file=sys.stderr)
            options.alone = True
    sizes = Sizes(
        turns=options.turns,
        cycles=options.cycles,
        depth=options.depth,
        contest=Contest(
            contenders=options.contenders,
            hold=options.hold,
            pause=options.pause,
            seconds=options.seconds,
            rounds=options.rounds,
        ),
        limit=options.limit,
    )
    command = " ".join(["python -m", MODULE, *arguments])
    taking_part = Field() if options.alone else with_peers()
    print(report(asyncio.run(run(taking_part, sizes, command, writer(options.json)))))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(lambda: main(sys.argv[1:])))
