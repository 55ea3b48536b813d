"""A run again, of the same settings, watched from outside: what was sent, what was released."""
