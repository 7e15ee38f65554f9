"""Accounts, and transfers between them that neither make nor lose money."""
