"""Attacks on a run, and what they show of its guarantee: lower bounds with a stated confidence."""
