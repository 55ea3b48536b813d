"""The synthetic world, whose people, items and exposure are drawn from known laws.

`sources` opens it, or a log in its place.
"""
