"""What happened, and what it costs.

`events` are what a ledger holds; `accountant` asks privacy loss distributions (`pld`), Renyi
divergences (`rdp`) and Opacus; `search` and `calculator` turn the question round.
"""
