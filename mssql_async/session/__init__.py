"""A lease on a connection: DB-API-shaped objects that know what the session went through.

Neither Django nor asgiref is imported here.
"""

from .lease import LeasedConnection, LeasedCursor, LeaseState
from .state import Effect, effect_of

__all__ = ["Effect", "LeaseState", "LeasedConnection", "LeasedCursor", "effect_of"]
