"""Sums that a server learns without the parts: the grid and the ring that they are made in."""
