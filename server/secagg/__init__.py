"""The server's side of sums whose parts it must not read."""
