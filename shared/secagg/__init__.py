"""Sums that a server learns without the parts: ring, messages, and both sides of the protocol."""
