"""Results as JSON, written whenever there are more of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def write(content: Any, file: Path) -> None:
    """The file has all of it or what it had before, whenever this is broken off."""
    beside = file.with_name(f"{file.name}.new")
    beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    beside.replace(file)


def writer(file: Path | None) -> Callable[[DataclassInstance], None]:
    """Writes a result there, if anywhere, each time it is called."""

    def tell(so_far: DataclassInstance) -> None:
        if file is not None:
            write(asdict(so_far), file)

    return tell
