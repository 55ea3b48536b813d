"""Small worlds, a tiny backbone and one-call federations that several tests share."""
