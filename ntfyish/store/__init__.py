"""Adapters that keep what must survive a restart."""
