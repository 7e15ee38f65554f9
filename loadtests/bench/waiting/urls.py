from __future__ import annotations

from django.urls import include, path

from . import views

urlpatterns = [
    path("stream/<int:milliseconds>", views.stream),
    path("turns", views.turns),
    path("beside", views.beside),
    path("threads", views.threads),
    path("long/<int:milliseconds>", views.long),
    path("how-long-ended", views.how_long_ended),
    path("", include("loadtests.bench.project.urls")),
]
