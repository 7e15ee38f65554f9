"""Numbers, times and verdicts in words, the same in every report."""

from __future__ import annotations

from mssql_async.contrib.leaks.findings import Detector
from mssql_async.contrib.leaks.secrets import without_secrets

from ..outcome import Outcome


def fit_to_show(outcome: Outcome) -> Outcome:
    """A copy without what looks like a secret, as every report shows it."""
    return Outcome.from_dict(without_secrets(outcome.to_dict()))


def number(count: int) -> str:
    return f"{count:,}"


def counted(count: int, one: str, many: str = "") -> str:
    """``1 finding``, ``1,204 findings``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def short_number(count: int) -> str:
    """At most three characters: ``7``, ``940``, ``1k``, ``12k``, ``.2M``, ``3M``."""
    if count < 1_000:
        return str(count)
    if count < 99_500:
        return f"{count / 1_000:.0f}k"
    if count < 950_000:
        return f".{count / 100_000:.0f}M"
    return f"{min(count / 1_000_000, 99):.0f}M"


def duration(seconds: float | None) -> str:
    """Three digits that count: ``840 µs``, ``12.4 ms``, ``1.08 s``, ``4 min 05 s``."""
    if seconds is None:
        return ""
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{_three_digits(seconds * 1e3)} ms"
    if seconds < 99.95:
        return f"{_three_digits(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


def _three_digits(value: float) -> str:
    if value < 9.995:
        return f"{value:.2f}"
    if value < 99.95:
        return f"{value:.1f}"
    return f"{value:.0f}"


def cost(outcome: Outcome) -> str:
    """What the contexts cost at the server; "" where it does not count."""
    counted_there = [each for each in outcome.scenarios if each.logins is not None]
    contexts = sum(each.contexts for each in counted_there)
    if not contexts:
        return ""
    logins = sum(each.logins or 0 for each in counted_there)
    statements = sum(each.statements or 0 for each in counted_there)
    return (
        f"{counted(logins, 'login')} and {counted(statements, 'statement')} at the server, "
        f"{logins / contexts:.2f} and {statements / contexts:.1f} a context"
    )


def not_looked_for(outcome: Outcome) -> list[str]:
    """A sentence for each thing that could not be looked for everywhere, and why."""
    scenarios: dict[tuple[Detector, str], list[str]] = {}
    ran = [scenario for scenario in outcome.scenarios if not scenario.skipped]
    for scenario in ran:
        for detector, why in scenario.unseen.items():
            scenarios.setdefault((detector, why), []).append(scenario.name)
    return [
        f"Not looked for: {detector.value}, in {_which(names, len(ran))}: {why}"
        + ("" if why.endswith(".") else ".")
        for (detector, why), names in scenarios.items()
    ]


def _which(names: list[str], all_of_them: int) -> str:
    if len(names) == all_of_them:
        return "all scenarios"
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} scenarios"


def verdict(outcome: Outcome) -> str:
    """One sentence: was something found, and where."""
    ran = [scenario for scenario in outcome.scenarios if not scenario.skipped]
    if outcome.found:
        leaking = sum(1 for scenario in ran if scenario.found)
        return (
            f"{counted(outcome.found, 'finding')} in {leaking} of {counted(len(ran), 'scenario')}"
        )
    if outcome.silent:
        return f"{counted(len(outcome.silent), 'control')} not caught"
    if not ran and outcome.controls:
        return f"{counted(len(outcome.controls), 'control')} caught"
    if not ran:
        return "Nothing ran"
    return f"Nothing found in {counted(outcome.contexts, 'context')}"
