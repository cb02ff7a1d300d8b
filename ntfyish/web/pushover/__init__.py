"""The Pushover dialect: parse, call the core, encode."""
