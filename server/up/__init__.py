"""A server that stays up: its certificate, who may join, its SuperLink, and one run from it."""
