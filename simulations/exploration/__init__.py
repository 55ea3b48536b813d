"""Exploration on the synthetic world, day by day: recommend, feedback, one federated sum.

`learner` is what devices and their server learn, under one lifetime budget.
"""
