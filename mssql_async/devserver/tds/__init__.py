"""TDS 7.4 on the wire: packets, login, requests, token streams, type encodings."""
