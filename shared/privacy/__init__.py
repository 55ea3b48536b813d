"""Clipping, noise, accounting and the ledger: every privacy-critical line, once."""
