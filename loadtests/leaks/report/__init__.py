"""What a run came to, for people and for machines: a terminal, JSON, one HTML file."""
