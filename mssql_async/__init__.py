"""mssql_async: a Django database backend for SQL Server made for ASGI.

Use it with ``ENGINE = "mssql_async"``. Importing this package imports nothing
else: Django reaches :mod:`mssql_async.base` by name, and the embedded server in
:mod:`mssql_async.devserver` stands alone.
"""

__version__ = "0.1.0"
