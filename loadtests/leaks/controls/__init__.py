"""Positive controls: backends and applications that are broken on purpose.

Each module is one of them; its docstring says what is broken. ``CONTROL`` names the detector that
has to catch it, and the scenario that brings it to light; ``install()`` breaks the process that it
is called in, for good: nothing puts it together again.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from types import ModuleType

from mssql_async.contrib.leaks.findings import Detector


class NotAControl(Exception):
    """A module of ``controls/`` that is none."""


@dataclass(frozen=True, slots=True)
class Control:
    """A run that has to find something."""

    detector: Detector
    """Which one has to."""
    scenarios: Sequence[str]
    contexts: int = 120
    """In all, which is enough with any seed."""
    concurrency: int = 8
    name: str = ""
    """The module's."""
    title: str = ""
    """What is broken: the first line of its docstring."""
    apply: Callable[[], None] = lambda: None
    """Break this process."""


def catalogue() -> dict[str, Control]:
    """Name -> control, in the order of the names.

    :raises NotAControl: naming the module.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: control_of(name) for name in names if not name.startswith("_")}


def control_of(name: str) -> Control:
    """
    :raises NotAControl: that is no module, or a module without one.
    """
    try:
        module = import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        raise NotAControl(f"There is no control {name!r}.") from error
    return _control_in(module)


def _control_in(module: ModuleType) -> Control:
    control, install = getattr(module, "CONTROL", None), getattr(module, "install", None)
    if not isinstance(control, Control) or not callable(install):
        raise NotAControl(f"{module.__name__} needs CONTROL and install().")
    title = (inspect.getdoc(module) or "").partition("\n")[0]
    name = module.__name__.rpartition(".")[2]
    return replace(control, name=name, title=title, apply=install)
