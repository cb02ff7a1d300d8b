"""Services and the ports they need; no HTTP, no SQL."""
