"""The ledger in the admin: names may be corrected, money may only be looked at."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from demo_asgi.ledger.models import Account, Transfer

admin.site.site_header = "Ledger on SQL Server"
admin.site.site_title = "Ledger"
admin.site.index_title = "mssql_async demo"


@admin.register(Account)
class AccountAdmin(admin.ModelAdmin):
    """A new account starts empty: money comes in by transfer only, as everywhere else."""

    list_display = ["name", "owner", "currency", "balance", "opening_balance", "opened"]
    list_filter = ["currency"]
    search_fields = ["name", "owner"]
    date_hierarchy = "opened"
    list_per_page = 50
    readonly_fields = ["balance", "opening_balance"]

    def get_readonly_fields(self, request: HttpRequest, obj: Account | None = None) -> list[str]:
        # An amount in another currency is another amount of money.
        return [*self.readonly_fields, "currency"] if obj else list(self.readonly_fields)

    def has_delete_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        return False


@admin.register(Transfer)
class TransferAdmin(admin.ModelAdmin):
    """What happened cannot be edited."""

    list_display = ["created", "from_account", "to_account", "amount", "memo", "reference"]
    list_select_related = ["from_account", "to_account"]
    list_filter = ["from_account__currency"]
    search_fields = ["memo", "from_account__name", "to_account__name"]
    date_hierarchy = "created"
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Transfer | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Transfer | None = None) -> bool:
        return False
