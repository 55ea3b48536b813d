"""What a device has for its person: recommendations and reasons, what was spent, what leaves.

`Person` is the one object that the commands and the page are written over; `spending` reads the
records as `starling policy spent` does, `leaving` the table of all that leaves and what was sent.
"""
