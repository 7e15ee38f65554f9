"""The ASGI application: Django, with the admin's static files.

Uvicorn is all there is in front of the demo, hence the static files handler.
"""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_asgi.settings")

application = ASGIStaticFilesHandler(get_asgi_application())
