"""How streams learn that the server is stopping.

Uvicorn waits for running responses before it stops, and an endless stream never ends by
itself. :mod:`demo_asgi.__main__` sets the event as soon as the server is asked to stop.
"""

import threading

requested = threading.Event()
