"""What a run is going to release, with the least noise that keeps it within the budget.

`terms` are what the settings fix, `plan` adds the noise; server and device derive the same.
"""
