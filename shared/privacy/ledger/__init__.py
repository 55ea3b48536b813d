"""What was released, on disk before it was: chained, signed, budgeted.

`chain` is the text, `ledger` the file that grows, `budget` a device's own, `device_ledgers` those
of all devices of a simulation.
"""
