"""One file a scenario; its docstring says what it shows."""
