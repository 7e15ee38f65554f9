"""``python -m tests.django_suite``: see ``docs/django-suite.md``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import django

from . import report
from .baseline import Comparison, compare, gone, left_out, read_baseline
from .modules import LISTED, MORE, labels
from .outcomes import ModuleReport, Outcome
from .results import record
from .run import Suite
from .source import CannotFetch, WrongContent, suite

STOCK = "mssql"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run modules; 0 where everything is as expected, 1 where not, 2 without a suite."""
    options = _parser().parse_args(arguments)
    try:
        tests = suite(django.get_version())
    except CannotFetch as error:
        print(f"Django's source distribution cannot be fetched: {error}", file=sys.stderr)
        if not options.skip_offline:
            return 2
        print("SKIPPED: nothing of Django's own test suite was run.")
        return 0
    except WrongContent as error:
        print(f"Not run: {error}", file=sys.stderr)
        return 2
    if options.record and (options.stock or options.patterns):
        print("Recorded are whole modules with mssql_async only.", file=sys.stderr)
        return 2
    engine = STOCK if options.stock else "mssql_async"
    baseline = read_baseline(".".join(map(str, django.VERSION[:2])))
    how = Suite(
        tests,
        engine,
        limit=options.limit,
        patterns=tuple(options.patterns),
        left_out=left_out(baseline),
        verbose=options.verbose,
    )
    print(f"Django {django.get_version()}, ENGINE = {engine!r}, {options.jobs} at a time")
    comparisons = []
    wanted = labels(options.modules, core=options.core, listed=options.listed)
    for module in _run_all(how, wanted, options.jobs):
        comparison = compare(module, baseline)
        comparisons.append(comparison)
        print(_progress(comparison), flush=True)
    comparisons.sort(key=lambda comparison: comparison.module.label)
    if options.json is not None:
        _write(options.json, comparisons)
    if options.record:
        record(django.get_version(), comparisons)
    _print_all(comparisons, tracebacks=not options.brief)
    if not options.patterns:
        for test in gone([comparison.module for comparison in comparisons], baseline):
            print(f"note: {test} is expected to fail and does not exist")
    for title, among in (("the list", LISTED), ("others", MORE)):
        part = [comparison for comparison in comparisons if comparison.module.label in among]
        if 0 < len(part) < len(comparisons):
            print(f"{title}: {report.share(part)}")
    print(report.share(comparisons))
    status = 0 if all(comparison.is_as_expected for comparison in comparisons) else 1
    if options.compare_with_stock:
        return _compare_with_stock(replace(how, engine=STOCK), comparisons, options.jobs) or status
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.django_suite",
        description="Django's own tests with mssql_async on the embedded server.",
    )
    parser.add_argument(
        "modules", nargs="*", help="modules of Django's tests, or dotted names in them"
    )
    parser.add_argument("--core", action="store_true", help="the few that .ci/run runs")
    parser.add_argument("--listed", action="store_true", help="without the modules of others")
    parser.add_argument("-k", dest="patterns", action="append", default=[], metavar="PATTERN")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="modules at a time (%(default)s)"
    )
    parser.add_argument(
        "--limit", type=float, default=1200, metavar="S", help="seconds for a module (%(default)s)"
    )
    parser.add_argument("--brief", action="store_true", help="no tracebacks")
    parser.add_argument("--verbose", action="store_true", help="what runtests.py printed, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every outcome there")
    parser.add_argument(
        "--record",
        action="store_true",
        help="write the numbers to results.json, which docs/django-suite.md is made of",
    )
    parser.add_argument(
        "--stock", action="store_true", help="with mssql-django itself on the embedded server"
    )
    parser.add_argument(
        "--compare-with-stock",
        action="store_true",
        help="run the modules with failures with mssql-django too, and name the tests that "
        "pass with it: those are ours",
    )
    parser.add_argument(
        "--skip-offline",
        action="store_true",
        help="succeed, saying so, where Django's source distribution cannot be fetched",
    )
    return parser


def _run_all(how: Suite, wanted: Sequence[str], jobs: int) -> Iterator[ModuleReport]:
    """Modules as they end."""
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        futures = [pool.submit(how.run, label) for label in wanted]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def _progress(comparison: Comparison) -> str:
    state = "as expected" if comparison.is_as_expected else "NOT as expected"
    return f"  {comparison.module.label}: {state}, {comparison.module.seconds:.0f} s"


def _print_all(comparisons: Sequence[Comparison], *, tracebacks: bool) -> None:
    for text in (
        report.details(comparisons, tracebacks=tracebacks),
        report.table(comparisons),
        report.missing(comparisons),
    ):
        if text:
            print(f"\n{text}")
    print()


def _write(path: Path, comparisons: Sequence[Comparison]) -> None:
    outcomes = {
        comparison.module.label: {
            test.id: [test.outcome.value, test.text] for test in comparison.module.tests
        }
        for comparison in comparisons
    }
    path.write_text(json.dumps(outcomes, indent=1) + "\n", "utf-8")


def _compare_with_stock(stock: Suite, comparisons: Sequence[Comparison], jobs: int) -> int:
    """1 where a test that fails with this backend passes with the one it is made from."""
    failed = {c.module.label: set(c.module.failures) for c in comparisons if c.module.failures}
    status = 0
    for module in _run_all(stock, list(failed), jobs):
        passed = {test.id for test in module.tests if test.outcome is Outcome.PASSED}
        for test in sorted(failed[module.label]):
            if test in passed:
                print(f"OURS {test} passes with ENGINE = {STOCK!r}")
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
