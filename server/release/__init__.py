"""From a sum to what is released: on the ledger first, then noised.

`releases` is the only way; `popularity`, `metrics` and `clipping` are what is released beside the
rounds' updates, and what adapts by them.
"""
