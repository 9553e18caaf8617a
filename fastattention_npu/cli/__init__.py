"""The `fastattn` command: one file a subcommand, main.py puts them together, text.py draws tables and bars."""
