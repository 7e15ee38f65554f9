"""For test suites: fails a test that leaks, and starts an SQL Server for those that want one.

Loaded by pytest through its entry point in every suite of an environment where this package is
installed, so that all it does at import is to be read. Nothing is watched before a marker, a
fixture or an option asks for it, and Django is left alone before its settings are there.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest

if TYPE_CHECKING:
    from .leaks.findings import Detector, Finding
    from .leaks.watch import Check, Watch
    from .leaks.wrappers import Wrappers
    from .testserver import ServerForTests

MARKER = "no_leaks"
#: pytest-django's, behind ``db``, ``transactional_db``, its marker, …: what it ends, rolls back
#: and closes is to be looked at before.
_OF_DATABASES = "_django_db_helper"


class _Asked(NamedTuple):
    """What one test is to be checked for, each time that it runs."""

    check: Check
    only_if_used: bool
    """Whether it is checked only if it uses a database."""


class _Watched:
    """One run of a test that is to be checked."""

    def __init__(self, item: pytest.Item, asked: _Asked) -> None:
        self.item = item
        self.asked = asked
        self.watch: Watch | None = None
        self.findings: list[Finding] = []
        self.has_passed = False
        self._comes_last = False
        self._was_looked_at = False
        self._uses_a_database = False

    def start(self) -> None:
        from .leaks.watch import Watch

        self.watch = Watch(
            self.item.nodeid, self.asked.check, _wrappers(self.item.config), self._may_not_look
        )

    def look_after_fixtures(self) -> None:
        """After the teardown of those of the test's own that are not set up yet."""
        if not self._comes_last:
            self._comes_last = True
            self.item.addfinalizer(self.look_if_it_has_passed)

    def _may_not_look(self) -> None:
        config = self.item.config
        if config.stash.get(_MAY_NOT_LOOK, False):
            return
        config.stash[_MAY_NOT_LOOK] = True
        # Where warnings are errors it is no error of this test.
        with contextlib.suppress(pytest.PytestWarning):
            self.item.warn(
                pytest.PytestWarning(
                    "The server does not show other sessions than one's own: orphan sessions are "
                    "not looked for. Grant VIEW SERVER STATE (from SQL Server 2022 on VIEW SERVER "
                    "PERFORMANCE STATE), or set leaks_server = false."
                )
            )

    def function_is_over(self) -> None:
        if self.watch is not None:
            self.findings += self.watch.pending_tasks()

    def look_if_it_has_passed(self) -> None:
        if self.has_passed:
            self.look_at_what_is_held()

    def look_at_what_is_held(self) -> None:
        """Once: before what surrounds the test gives back everything."""
        if self.watch is not None and not self._was_looked_at:
            self._was_looked_at = True
            known = {_lease_of(finding) for finding in self.findings}
            self.findings += [
                finding for finding in self.watch.held() if _lease_of(finding) not in known
            ]
            self._uses_a_database = self.watch.used_a_database
            if self._uses_a_database or not self.asked.only_if_used:
                self.findings += self.watch.orphans()
            if self.findings:
                self.watch.give_back()

    def end(self) -> list[Finding]:
        """What has leaked, after everything was torn down."""
        watch, self.watch = self.watch, None
        if watch is None:
            return []
        try:
            if not self.has_passed or (self.asked.only_if_used and not self._uses_a_database):
                return []
            return [*self.findings, *watch.rest()]
        finally:
            watch.end()


def _lease_of(finding: Finding) -> object:
    """The same lease at two moments is one finding."""
    culprit = finding.culprit
    return finding.detector, culprit and culprit.place, culprit and culprit.statement


_ASKED = pytest.StashKey[_Asked]()
_WATCHED = pytest.StashKey[_Watched]()
_WRAPPERS = pytest.StashKey["Wrappers"]()
_MAY_NOT_LOOK = pytest.StashKey[bool]()


def _wrappers(config: pytest.Config) -> Wrappers:
    if _WRAPPERS not in config.stash:
        from .leaks.wrappers import Wrappers

        config.stash[_WRAPPERS] = Wrappers()
    return config.stash[_WRAPPERS]


# --- what is asked for ---------------------------------------------------------------------------


_OPTIONS = {
    "leaks": (
        True, "Fail every test that uses a database and leaks a lease, session or transaction.",
    ),
    "no-leaks": (False, "Check no test, not even those that are marked."),
}  # fmt: skip
_INI: dict[str, tuple[str, Literal["bool", "linelist", "string"], Any]] = {
    "leaks": ("Check every test that uses a database.", "bool", False),
    "leaks_server": ("Ask the server for its sessions, too.", "bool", True),
    "leaks_allow": ("Detectors that fail no test.", "linelist", []),
    "leaks_grace": ("Seconds that threads and the server get to let go.", "string", "0.5"),
}
#: Names of :data:`_INI` that nobody else has.
_SHORT = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    for name in _OPTIONS:
        _add_option(parser, name, f"--{name.replace('leaks', 'mssql-leaks')}")
    for name, (what, kind, _) in _INI.items():
        parser.addini(f"mssql_{name}", what, type=kind, default=None)
    config = pluginmanager.get_plugin("pytestconfig")
    files = (str(getattr(each, "__file__", "")) for each in pluginmanager.get_plugins())
    if config is not None and any(file.endswith("conftest.py") for file in files):
        # Named in pytest_plugins: it is too late for the hook below.
        _add_short_names(config, parser)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser
) -> Generator[None]:
    # Last, because whoever adds a name that is taken breaks the run.
    yield
    _add_short_names(early_config, parser)


def _add_short_names(config: pytest.Config, parser: pytest.Parser) -> None:
    """Those that no other plugin has."""
    for name in _OPTIONS:
        if _is_free(parser, f"--{name}"):
            _add_option(parser, name, f"--{name}")
    ours = config.stash.setdefault(_SHORT, set())
    for name, (what, kind, default) in _INI.items():
        try:
            config.getini(name)
        except ValueError:
            parser.addini(name, what, type=kind, default=default)
            ours.add(name)


def _is_free(parser: pytest.Parser, option: str) -> bool:
    try:
        return option in parser.parse_known_and_unknown_args([option])[1]
    except pytest.UsageError:  # somebody's, who wants a value with it
        return False


def _add_option(parser: pytest.Parser, name: str, option: str) -> None:
    value, what = _OPTIONS[name]
    parser.getgroup("mssql_async", "leaks of database connections (mssql_async)").addoption(
        option, action="store_const", const=value, default=None, dest="mssql_async_leaks", help=what
    )


def _ini(config: pytest.Config, name: str) -> Any:
    value = config.getini(f"mssql_{name}")
    if value is not None:
        return value
    return config.getini(name) if name in config.stash.get(_SHORT, ()) else _INI[name][2]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*detectors, allow=(), server=None, enabled=True): the test fails if it leaks a "
        'lease, transaction, session or session state. Detectors: "retained lease", "orphan '
        'session", "state bleed", "transaction bleed", "growth".',
    )


def pytest_unconfigure(config: pytest.Config) -> None:
    if _WRAPPERS in config.stash:
        config.stash[_WRAPPERS].remove()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("mssql_async_leaks") is False:
        return
    everywhere = config.getoption("mssql_async_leaks") or _ini(config, "leaks")
    wanted = False
    for item in items:
        names = getattr(item, "fixturenames", None)
        if names is None:
            continue
        marker = item.get_closest_marker(MARKER)
        asked = marker is not None or "leak_check" in names
        if not (asked or everywhere):
            continue
        check = _check(config, marker, item.nodeid)
        if check is not None:
            item.stash[_ASKED] = _Asked(check, only_if_used=not asked)
            wanted = True
    if wanted:
        _wrappers(config).install()


def _check(config: pytest.Config, marker: pytest.Mark | None, nodeid: str) -> Check | None:
    """
    :raises pytest.UsageError: the marker or an option says what it cannot.
    """
    from .leaks.watch import CHECKED, Check

    arguments: dict[str, Any] = dict(marker.kwargs) if marker is not None else {}
    where = f"The marker {MARKER} of {nodeid}"
    if not arguments.pop("enabled", True):
        return None
    only = _detectors(marker.args if marker is not None else (), where) or CHECKED
    allow = arguments.pop("allow", ())
    allowed = _detectors((allow,) if isinstance(allow, str) else allow, where)
    allowed |= _detectors(_ini(config, "leaks_allow"), "The option leaks_allow")
    server = arguments.pop("server", None)
    if arguments:
        raise pytest.UsageError(f"{where} does not take {', '.join(map(repr, arguments))}.")
    try:
        grace = float(_ini(config, "leaks_grace"))
    except ValueError:
        raise pytest.UsageError("The option leaks_grace is a number of seconds.") from None
    return Check(
        only - allowed, bool(_ini(config, "leaks_server") if server is None else server), grace
    )


def _detectors(names: Iterable[str], where: str) -> frozenset[Detector]:
    from .leaks.watch import CHECKED

    known = {detector.value: detector for detector in CHECKED}
    names = list(names)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise pytest.UsageError(
            f"{where} names {unknown[0]!r}; there are {', '.join(map(repr, sorted(known)))}."
        )
    return frozenset(known[name] for name in names)


# --- around each test ----------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    # Afresh: there are plugins that run a test again.
    if _ASKED in item.stash:
        item.stash[_WATCHED] = _Watched(item, item.stash[_ASKED])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Finalizers, and no fixture of its own: the others are set up in the order in which they are
    without this plugin."""
    if request.scope != "function":
        return (yield)
    watched = request.node.stash.get(_WATCHED, None)
    if watched is None:
        return (yield)
    watched.look_after_fixtures()
    result = yield
    if fixturedef.argname == _OF_DATABASES:
        # The last finalizer to be added is the first to run.
        fixturedef.addfinalizer(watched.look_if_it_has_passed)
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    watched = item.stash.get(_WATCHED, None)
    if watched is None:
        return (yield)
    watched.look_after_fixtures()
    watched.start()
    case = getattr(item, "instance", None)
    unittest = sys.modules.get("unittest")
    if unittest is not None and isinstance(case, unittest.TestCase):
        # The first to be added is the last to run: just before Django's classes clean up.
        case.addCleanup(watched.look_at_what_is_held)
    try:
        return (yield)
    finally:
        watched.function_is_over()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "call" and _WATCHED in item.stash:
        item.stash[_WATCHED].has_passed = report.passed
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    if _WATCHED not in item.stash:
        return (yield)
    try:
        result = yield
    except BaseException as error:
        findings = _end(item)
        if findings:
            error.add_note(_text(item, findings))
        raise
    findings = _end(item)
    if findings:
        pytest.fail(_text(item, findings), pytrace=False)
    return result


def _end(item: pytest.Item) -> list[Finding]:
    watched = item.stash[_WATCHED]
    del item.stash[_WATCHED]
    return watched.end()


def _text(item: pytest.Item, findings: list[Finding]) -> str:
    count = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
    return "\n\n".join(
        [f"{item.nodeid} leaks: {count}.", *(finding.describe() for finding in findings)]
    )


# --- fixtures ------------------------------------------------------------------------------------


class LeakCheck:
    """What the fixture ``leak_check`` is."""

    def __init__(self, watched: Callable[[], _Watched | None]) -> None:
        self._watched = watched

    def findings(self) -> list[Finding]:
        """What the test holds at this moment and did not hold when its function began: leases
        and open transactions. None where checks are switched off.

        :raises RuntimeError: the test's function has not begun.
        """
        watched = self._watched()
        if watched is None:
            return []
        if watched.watch is None:
            raise RuntimeError("leak_check can be asked once the test's function has begun.")
        return watched.watch.held(ended=False)

    def now(self) -> None:
        """Fail the test if it holds anything at this moment."""
        findings = self.findings()
        watched = self._watched()
        if findings and watched is not None:
            pytest.fail(_text(watched.item, findings), pytrace=False)


@pytest.fixture
def leak_check(request: pytest.FixtureRequest) -> LeakCheck:
    """Fails the test if it leaks, as the marker no_leaks does; ``leak_check.now()`` does so in
    the middle of it."""
    item = request.node
    config = request.config
    if _WATCHED not in item.stash and config.getoption("mssql_async_leaks") is not False:
        # Asked for by request.getfixturevalue(): it is watched from here on.
        check = _check(config, item.get_closest_marker(MARKER), item.nodeid)
        if check is not None:
            item.stash[_WATCHED] = _Watched(item, _Asked(check, only_if_used=False))
            item.stash[_WATCHED].look_after_fixtures()
            item.stash[_WATCHED].start()
    return LeakCheck(lambda: item.stash.get(_WATCHED, None))


@pytest.fixture(scope="session")
def mssql_devserver() -> Generator[ServerForTests]:
    """An SQL Server for the session: the embedded one, or the one that MSSQL_HOST names."""
    from .testserver import DevServerMissing, server_for_tests

    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(server_for_tests())
        except DevServerMissing as missing:
            pytest.fail(str(missing), pytrace=False)
        yield server
