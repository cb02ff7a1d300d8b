"""Adapters that call other servers: callbacks of receipts."""
