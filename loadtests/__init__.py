"""What a team runs before it trusts a backend under load."""
