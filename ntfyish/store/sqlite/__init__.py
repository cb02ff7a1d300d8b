"""The SQLite adapter: one writer with group commit, separate readers."""
