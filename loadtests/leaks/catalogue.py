"""All scenarios, by name: one module of ``scenarios/`` each."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from types import ModuleType

from . import scenarios
from .scenario import Scenario


class NotAScenario(Exception):
    """A module of ``scenarios/`` that holds none, or several."""


def catalogue() -> dict[str, Scenario]:
    """Name -> one instance, in the order of the names. Modules that begin with an underscore
    are what several of them share.

    :raises NotAScenario: naming the module.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(scenarios.__path__))
    return {
        name: scenario_in(import_module(f"{scenarios.__name__}.{name}"))
        for name in names
        if not name.startswith("_")
    }


def scenario_in(module: ModuleType) -> Scenario:
    """The one that a module defines, with its name set.

    :raises NotAScenario: it defines none, or several.
    """
    found = [
        each
        for each in vars(module).values()
        if inspect.isclass(each)
        and issubclass(each, Scenario)
        and each.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise NotAScenario(f"{module.__name__} defines {len(found)} scenarios instead of one.")
    found[0].name = module.__name__.rpartition(".")[2]
    return found[0]()


def title_of(scenario: Scenario) -> str:
    """What it shows: the first line of its module's docstring."""
    module = inspect.getmodule(type(scenario))
    return (inspect.getdoc(module) or scenario.name).partition("\n")[0]
