"""Adapters for e-mail, in and out. They need the extra `mail`; only the composition root imports them."""
