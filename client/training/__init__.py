"""Local training, by whole people and by examples, and what it draws its batches from.

The slow and obvious form of everything that the cohort engine batches.
"""
