"""Cohorts as one batch: what many devices would compute, in one pass over shared weights.

`simulation` opens data and models once; `cohort` trains and ranks on them, packed or padded.
"""
