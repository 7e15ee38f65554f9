"""A thread that waits for asynchronous code and runs its calls meanwhile.

``async_to_sync`` leaves such a thread behind: a test's, one of WSGI, a worker's. A transaction
that is open there can be joined only there.
"""

from __future__ import annotations

from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from .calls import Call, settle
from .errors import TransactionBlockEnded
from .worker import current_worker, run_beneath

if TYPE_CHECKING:
    from .workers import WorkerPool


class WaitingThread:
    """Runs the calls of one home in place of a worker.

    :param executor: asgiref's own, which refuses when its thread waits no longer.
    """

    def __init__(self, executor: Executor, pool: WorkerPool) -> None:
        self._executor = executor
        self._pool = pool

    def begin(self, call: Call) -> bool:
        """Have a call run there. Called under the workers' lock. False: the thread waits no
        longer, and the call has failed."""
        try:
            self._executor.submit(self._work, call)
        except RuntimeError as gone:
            if call.future.set_running_or_notify_cancel():
                call.future.set_exception(
                    TransactionBlockEnded(
                        "A task used the database in a transaction of the thread that had called "
                        "async_to_sync, which it has outlived. Await the task inside."
                    ).with_traceback(gone.__traceback__)
                )
            call.future.forget_call()
            return False
        return True

    def _work(self, call: Call) -> None:
        following: Call | None = call
        while following is not None:
            following = self._run(following)

    def _run(self, call: Call) -> Call | None:
        future = call.future
        if not future.set_running_or_notify_cancel():
            future.forget_call()
            return self._pool.finished_above(call)
        result: Any = None
        error: BaseException | None = None
        worker = current_worker()
        try:
            result = call.run() if worker is None else run_beneath(worker, call)
        except BaseException as raised:  # it is the caller's, whatever it is
            error = raised
        following = self._pool.finished_above(call)
        future.forget_call()
        try:
            settle(future, result, error)
        finally:
            del error, result  # a traceback refers to this frame
        return following
