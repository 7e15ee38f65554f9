"""A ledger served by Uvicorn from SQL Server: ``python -m demo_asgi``."""
