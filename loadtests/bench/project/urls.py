from __future__ import annotations

from django.urls import path

from . import views

urlpatterns = [
    path("no-query", views.no_query),
    path("one-query/<int:pk>", views.one_query),
    path("one-query-sync/<int:pk>", views.one_query_sync),
    path("three-queries/<int:pk>", views.three_queries),
    path("create", views.create),
    path("atomic/<int:pk>", views.atomic),
    path("savepoint/<int:pk>", views.savepoint),
    path("bulk", views.bulk),
    path("prefetch", views.prefetch),
]
