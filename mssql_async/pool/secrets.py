"""Secrets that are shown to nobody.

Error reports (Django's debug page and its mails to ``ADMINS``, Sentry) print the local variables
of every frame of a traceback. These are what they are in everything but their ``repr``.
"""

from __future__ import annotations

_SHOWN = "'********************'"  # as Django's reports write what they leave out


class SecretText(str):
    """A password, a token, or a text that has one in it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _SHOWN


class SecretBytes(bytes):
    """A token as the driver takes it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _SHOWN
