"""T-SQL in, SQLite SQL out: parsing, typing and compiling, with no state of its own."""
