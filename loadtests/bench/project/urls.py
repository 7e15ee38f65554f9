from __future__ import annotations

from types import ModuleType

from django.urls import URLPattern, include, path

from . import sync_views, views


def _served_by(module: ModuleType) -> list[URLPattern]:
    return [
        path("no-query", module.no_query),
        path("one-query/<int:pk>", module.one_query),
        path("three-queries/<int:pk>", module.three_queries),
        path("create", module.create),
        path("atomic/<int:pk>", module.atomic),
        path("savepoint/<int:pk>", module.savepoint),
        path("bulk", module.bulk),
        path("prefetch", module.prefetch),
    ]


urlpatterns = [*_served_by(views), path("sync/", include(_served_by(sync_views)))]
