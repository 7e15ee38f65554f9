"""What a run of the harness is asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OURS = "mssql_async"
IN_PROCESS, UVICORN, DAPHNE = "in-process", "uvicorn", "daphne"
WAYS = (IN_PROCESS, UVICORN, DAPHNE)

LARGEST_WAVE = 1000
WAVES = 12
"""That many samples show whether something grows, also if it does not after each of them."""


_TIMES = ("context_patience", "rest_patience")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The command line's, with its defaults."""

    names: Sequence[str] = ()
    """Of scenarios; none: all."""
    engine: str = OURS
    databases: str = ""
    """Where the entry of ``DATABASES`` is found, for a backend of another database: see
    :func:`.subject.databases.entry_of`. Passwords stay there."""
    conn_max_age: int | None = 0
    contexts: int = 2000
    """Of the whole run; each scenario gets its share."""
    concurrency: int = 32
    over: str = IN_PROCESS
    processes: int = 2
    """Over a server."""
    loops: int = 1
    """Event loops in this process."""
    seed: int = 0
    wave: int = 0
    """Contexts at most that are looked at together; 0: as suits their number."""
    control: str = ""
    context_patience: float = 60.0
    """Seconds that a context may take."""
    rest_patience: float = 15.0
    """Seconds that a wave has to come to rest."""

    @property
    def is_served(self) -> bool:
        """Whether the application runs in processes of a server's, and clients come over
        sockets."""
        return self.over != IN_PROCESS

    def wave_of(self, contexts: int, most_at_once: int = LARGEST_WAVE) -> int:
        """How many of a scenario's contexts a wave has: so few that there are :data:`WAVES`, and
        enough for as many at a time as were asked for."""
        if self.wave:
            return self.wave
        waves = min(WAVES, contexts // min(self.concurrency, most_at_once))
        return max(1, min(LARGEST_WAVE, -(-contexts // max(1, waves))))

    def command(self) -> list[str]:
        """What repeats the run, word by word. There are no secrets in it: where the database is
        and how to log in is the environment's."""
        words = ["python", "-m", "loadtests", "leaks", *self.names]
        default = RunOptions()
        for name in ("engine", "databases", "conn_max_age", "contexts", "concurrency", "over",
                     "processes", "loops", "wave", "control", "context_patience",
                     "rest_patience"):  # fmt: skip
            value = getattr(self, name)
            if value != getattr(default, name):
                shown = "none" if value is None else f"{value:g}" if name in _TIMES else f"{value}"
                words += [f"--{name.replace('_', '-')}", shown]
        return [*words, "--seed", str(self.seed)]
