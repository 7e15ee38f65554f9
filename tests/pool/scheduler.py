"""A pool's runtime in which nothing happens by itself: a seeded scheduler of greenlets.

Tasks are greenlets, so exactly one runs at a time, and it runs on until it comes to a *point*:
a lock, a gate, a call of the connector, or, in a module loaded with :func:`preemptible`, any
statement. There the scheduler draws who goes on. Time is virtual: it stands still while
anybody can run, and then jumps to the next moment at which somebody can. The same seed makes the
same run, and :meth:`Scheduler.story` tells it step by step.
"""

from __future__ import annotations

import ast
import contextlib
import heapq
import importlib.util
import itertools
import math
import random
import sys
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from mssql_async.pool.runtime import Maintained

#: What :meth:`Scheduler.now` says at first; not 0, as a machine's clock rarely does.
BEGINNING = 1000.0


class Deadlock(AssertionError):
    """Nobody can run, and nothing that is due would change that."""


class Livelock(AssertionError):
    """More steps than any run should need."""


class TaskFailed(AssertionError):
    """A task raised; the cause says what."""


class Task:
    """What a thread would be."""

    def __init__(self, scheduler: Scheduler, name: str, job: Callable[[], object]) -> None:
        self.name = name
        self.waits_for = ""
        """What it is blocked at; empty while it can run."""
        self.wakes_at = math.inf
        self.holds = 0
        """Locks that it holds."""
        self.pending: BaseException | None = None
        """Raised in it as soon as it goes on."""
        self.finished = False
        self._job = job
        self.greenlet = greenlet(self._run, scheduler._hub)

    def _run(self) -> None:
        try:
            self._job()
        finally:
            self.finished = True

    def __repr__(self) -> str:
        return f"<Task {self.name}{f' at {self.waits_for}' if self.waits_for else ''}>"


class Scheduler:
    """Implements :class:`mssql_async.pool.runtime.Runtime`.

    :param seed: decides everything.
    :param stay: how likely a task goes on at a point instead of being put aside; ``None``
        draws that too, so that a set of seeds has runs of short and of long steps.
    :param refuse_starts: how likely :meth:`start` says that no thread can be started.
    :param most_steps: a run of more raises :class:`Livelock`.
    """

    def __init__(
        self,
        seed: int,
        *,
        stay: float | None = None,
        refuse_starts: float = 0.0,
        most_steps: int = 100_000,
    ) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.trace: list[tuple[float, str, str]] = []
        """Virtual time, task and what it came to."""
        self._draw = self.random.random
        self._stay = self._draw() * 0.95 if stay is None else stay
        self._refuse_starts = refuse_starts
        self._most_steps = most_steps
        self._now = BEGINNING
        self._hub = getcurrent()
        self._ready: list[Task] = []
        self._blocked: set[Task] = set()
        self._alive = 0
        self._running: Task | None = None
        self._finalizers: deque[Callable[[], None]] = deque()
        self._numbers = itertools.count(1)
        self._order = itertools.count()
        self._timers: list[tuple[float, int, weakref.ref[Maintained]]] = []
        self._maintaining = False
        self._dead = False

    # --- tasks ------------------------------------------------------------------------------

    def spawn(self, name: str, job: Callable[[], object]) -> Task:
        """A task that runs ``job`` once :meth:`run` is called."""
        task = Task(self, name, job)
        self._ready.append(task)
        self._alive += 1
        return task

    def run(self) -> None:
        """Until every task has ended. Timers may be left: nobody waits for them.

        :raises Deadlock: nobody can go on.
        :raises Livelock: it does not end.
        :raises TaskFailed: a task raised. All three leave the scheduler unusable.
        """
        try:
            self._run()
        except BaseException:
            self._dead = True
            for task in (*self._ready, *self._blocked):
                with contextlib.suppress(Exception):
                    task.greenlet.throw(GreenletExit)
            raise

    def _run(self) -> None:
        ready, rand = self._ready, self._draw
        while self._alive:
            self._start_maintenance()
            if not ready:
                self._let_time_pass()
                continue
            i = int(rand() * len(ready))
            task = ready[i]
            self._running = task
            try:
                task.greenlet.switch()
            except GreenletExit:
                raise
            except BaseException as error:
                ready.remove(task)
                raise TaskFailed(f"{task.name}: {type(error).__name__}: {error}") from error
            finally:
                self._running = None
            if task.finished:
                ready.remove(task)
                self._alive -= 1
                if task.holds:
                    raise TaskFailed(f"{task.name} ended holding a lock")
            elif task.waits_for:
                ready.remove(task)
                self._blocked.add(task)
            if len(self.trace) > self._most_steps:
                raise Livelock(f"{len(self.trace)} steps; unfinished: {self._unfinished()}")

    def _let_time_pass(self) -> None:
        soonest = min((task.wakes_at for task in self._blocked), default=math.inf)
        somebody_waits = soonest < math.inf or any(t.waits_for == "gate" for t in self._blocked)
        if self._timers and somebody_waits and not self._maintaining:
            soonest = min(soonest, self._timers[0][0])
        if soonest == math.inf:
            raise Deadlock(f"nobody can run: {self._unfinished()}")
        self._now = max(self._now, soonest)
        for task in sorted(self._blocked, key=lambda task: task.name):
            if task.wakes_at <= self._now:
                self._wake(task)

    def _unfinished(self) -> str:
        tasks = sorted((*self._ready, *self._blocked), key=lambda task: task.name)
        return ", ".join(
            f"{task.name} {f'waits for a {task.waits_for}' if task.waits_for else 'can run'}"
            f"{' and holds a lock' if task.holds else ''}"
            for task in tasks
        )

    def _wake(self, task: Task) -> None:
        self._blocked.discard(task)
        task.waits_for = ""
        task.wakes_at = math.inf
        self._ready.append(task)

    @property
    def current(self) -> Task:
        """The task that runs."""
        if self._running is None:
            raise AssertionError("called from outside of every task")
        return self._running

    # --- points -----------------------------------------------------------------------------

    def point(self, what: str) -> None:
        """The running task may be put aside here."""
        if self._dead:
            raise GreenletExit
        task = self._running
        if task is None:
            return  # a test that looks at the pool between two runs
        self.trace.append((self._now, task.name, what))
        if self._finalizers:
            self._finalize()
        if self._draw() >= self._stay:
            self._hub.switch()
            if self._dead:
                raise GreenletExit

    def block(self, what: str, until: float = math.inf) -> None:
        """Put the running task aside until it is woken, or until that time."""
        if self._dead:
            raise GreenletExit
        task = self.current
        self.trace.append((self._now, task.name, f"waits for a {what}"))
        task.waits_for, task.wakes_at = what, until
        self._hub.switch()
        if self._dead:
            raise GreenletExit
        if task.pending is not None:
            error, task.pending = task.pending, None
            self.trace.append((self._now, task.name, f"interrupted: {error!r}"))
            raise error

    def interrupt(self, task: Task, error: BaseException) -> bool:
        """Raise ``error`` in a task that waits at a gate, as a signal would. Whether it did
        wait there, without another interruption under way."""
        if task.waits_for != "gate" or task.pending is not None:
            return False
        task.pending = error
        self._wake(task)
        return True

    def finalize(self, job: Callable[[], None]) -> None:
        """Run a job the way the garbage collector runs finalizers: in the middle of whatever
        task comes to a point next, whichever locks that one holds."""
        self._finalizers.append(job)

    def _finalize(self) -> None:
        while self._finalizers and self._draw() < 0.5:
            job = self._finalizers.popleft()
            self.trace.append((self._now, self.current.name, "runs a finalizer"))
            job()

    # --- the runtime ------------------------------------------------------------------------

    def now(self) -> float:
        return self._now

    def lock(self) -> VirtualLock:
        return VirtualLock(self)

    def gate(self) -> VirtualGate:
        return VirtualGate(self)

    def start(self, job: Callable[[], None]) -> bool:
        if self._refuse_starts and self._draw() < self._refuse_starts:
            return False
        self.spawn(f"job {next(self._numbers)}", job)
        return True

    def alone(self) -> bool:
        """Jobs and maintenance are the pool's own and do not count."""
        tasks = {*self._ready, *self._blocked}
        others = [task for task in tasks if not task.name.startswith(("job ", "maintenance"))]
        return len([task for task in others if task is not self._running]) == 0

    def call_at(self, when: float, what: weakref.ref[Maintained]) -> None:
        heapq.heappush(self._timers, (when, next(self._order), what))

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.block("moment", self._now + seconds)
        else:
            self.point("sleep")

    def _start_maintenance(self) -> None:
        if self._maintaining or not self._timers or self._timers[0][0] > self._now:
            return
        self._maintaining = True
        self.spawn("maintenance", self._maintain)

    def _maintain(self) -> None:
        """One thread for everything that is due, one after another."""
        try:
            while self._timers and self._timers[0][0] <= self._now:
                maintained = heapq.heappop(self._timers)[2]()
                if maintained is not None:
                    maintained.maintain()
        finally:
            self._maintaining = False

    # --- what happened ----------------------------------------------------------------------

    def story(self, last: int = 200) -> str:
        """The last steps, one a line, and how to have them again."""
        lines = [f"{at - BEGINNING:10.3f} {name:14} {what}" for at, name, what in self.trace]
        left_out = max(len(lines) - last, 0)
        head = [f"seed {self.seed}: {len(lines)} steps"]
        if left_out:
            head.append(f"... {left_out} steps left out")
        return "\n".join((*head, *lines[-last:]))


class VirtualLock:
    """A lock as :func:`threading.Lock` makes it: not reentrant, not fair."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._holder: Task | None = None
        self._waiting: deque[Task] = deque()

    def acquire(self, blocking: bool = True) -> bool:
        scheduler = self._scheduler
        scheduler.point("acquires")
        task = scheduler._running
        if task is None:
            if self._holder is not None:
                raise AssertionError(f"{self._holder.name} holds the lock between two runs")
            return True
        while self._holder is not None:
            if not blocking:
                scheduler.point("finds it locked")
                return False
            self._waiting.append(task)
            scheduler.block("lock")
        self._holder = task
        task.holds += 1
        scheduler.point("holds")
        return True

    def release(self) -> None:
        task, self._holder = self._holder, None
        scheduler = self._scheduler
        if scheduler._running is None:
            return
        if task is not scheduler._running:
            raise AssertionError(f"a lock held by {task} was released by {scheduler._running}")
        task.holds -= 1
        for waiting in self._waiting:
            if waiting.waits_for == "lock":
                scheduler._wake(waiting)
        self._waiting.clear()
        scheduler.point("released")

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class VirtualGate:
    """Opened once; lets one task through, at once or at the end of its time."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._open = False
        self._waiting: Task | None = None

    def wait(self, seconds: float) -> bool:
        scheduler = self._scheduler
        scheduler.point("comes to a gate")
        if not self._open and seconds > 0:
            self._waiting = scheduler.current
            try:
                scheduler.block("gate", scheduler._now + seconds)
            finally:
                self._waiting = None
        return self._open

    def open(self) -> None:
        if self._open:
            raise AssertionError("a gate was opened twice")
        self._open = True
        waiting = self._waiting
        if waiting is not None and waiting.waits_for == "gate":
            self._scheduler._wake(waiting)


# --- points at every statement --------------------------------------------------------------


class _Points(ast.NodeTransformer):
    """Puts a call of ``_point`` before every statement of every function."""

    def __init__(self) -> None:
        self._depth = 0

    def _function(self, node: Any) -> Any:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1
        node.body = self._with_points(node.body)
        return node

    visit_FunctionDef = _function  # noqa: N815 - ast's names
    visit_AsyncFunctionDef = _function  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        depth, self._depth = self._depth, 0
        self.generic_visit(node)
        self._depth = depth
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if self._depth and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "finalbody"):
                body = getattr(node, field, None)
                if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
                    setattr(node, field, self._with_points(body))
        return node

    @staticmethod
    def _with_points(body: list[ast.stmt]) -> list[ast.stmt]:
        new: list[ast.stmt] = []
        for i, statement in enumerate(body):
            docstring = (
                i == 0
                and isinstance(statement, ast.Expr)
                and isinstance(statement.value, ast.Constant)
            )
            if not docstring and not isinstance(statement, ast.Nonlocal | ast.Global):
                call = ast.parse(f"_point('line {statement.lineno}')").body[0]
                for node in ast.walk(call):
                    ast.copy_location(node, statement)
                new.append(call)
            new.append(statement)
        return new


#: Whose points the statements of preemptible modules are.
_current: Scheduler | None = None


def _point(what: str) -> None:
    if _current is not None and _current._running is not None:
        _current.point(what)


def points_belong_to(scheduler: Scheduler | None) -> None:
    """Says which scheduler the statements of preemptible modules stop for; ``None``: none."""
    global _current
    _current = scheduler


def preemptible(*names: str) -> ModuleType:
    """Second copies of modules in which every statement of a function is a point; the last one
    is returned. Where one of them imports an earlier one of the same package, it gets the copy.

    They find what is read or written outside of a lock that should be inside.
    """
    copies: set[str] = set()
    for name in names:
        module = _preemptible(name, copies)
        copies.add(name.rpartition(".")[2])
    return module


def _preemptible(name: str, copies: set[str]) -> ModuleType:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ImportError(name)
    source = Path(spec.origin).read_text(encoding="utf-8")
    tree = _Points().visit(ast.parse(source, spec.origin))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module in copies:
            node.module = f"{node.module}__preemptible"
    module = ModuleType(f"{name}__preemptible")
    module.__package__ = spec.parent
    module.__file__ = spec.origin
    module.__dict__["_point"] = _point
    sys.modules[module.__name__] = module  # dataclasses and the other copies look it up
    exec(compile(tree, spec.origin, "exec"), module.__dict__)  # noqa: S102 - our own source
    return module
