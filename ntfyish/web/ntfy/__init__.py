"""The ntfy dialect: parse, call the core, encode."""
