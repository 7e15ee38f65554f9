"""Addresses of the demo. Asynchronous views have the plain ones, their twins ``/sync/``."""

from django.contrib import admin
from django.urls import path

from demo_asgi.ledger import views

urlpatterns = [
    path("", views.index, name="index"),
    path("accounts/", views.accounts_async, name="accounts"),
    path("accounts/<int:pk>/", views.account_async, name="account"),
    path("transfers/", views.transfer_async, name="transfers"),
    path("report/", views.report_async, name="report"),
    path("sync/accounts/", views.accounts_sync, name="accounts-sync"),
    path("sync/accounts/<int:pk>/", views.account_sync, name="account-sync"),
    path("sync/transfers/", views.transfer_sync, name="transfers-sync"),
    path("sync/report/", views.report_sync, name="report-sync"),
    path("feed/", views.feed, name="feed"),
    path("pool/", views.pool, name="pool"),
    path("health/", views.health, name="health"),
    path("admin/", admin.site.urls),
]

handler400 = "demo_asgi.ledger.views.bad_request"
