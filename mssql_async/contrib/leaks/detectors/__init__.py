"""One module a detector, each with ``detect(record)``."""
