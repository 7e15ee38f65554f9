from django.apps import AppConfig


class LedgerConfig(AppConfig):
    name = "demo_asgi.ledger"
    label = "ledger"
    verbose_name = "Ledger"
