"""The ASGI application: Django, with the admin's static files.

Every request is a context of its own: :class:`mssql_async.asgi.ConnectionLifecycle` goes around
all of it. Uvicorn is all there is in front of the demo, hence the static files handler.
"""

import os

import django
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from mssql_async.asgi import ConnectionLifecycle, Handler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_asgi.settings")
django.setup(set_prefix=False)

application = ConnectionLifecycle(ASGIStaticFilesHandler(Handler()))
