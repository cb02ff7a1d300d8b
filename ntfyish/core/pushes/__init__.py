"""Devices that other services push to, and everything between a message and them."""
