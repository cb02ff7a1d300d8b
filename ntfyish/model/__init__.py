"""Values, grammar and errors: pure, no I/O, no clock; imports nothing else of ntfyish."""
