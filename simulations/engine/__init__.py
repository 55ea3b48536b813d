"""Cohorts as one batch: what many devices would compute, in one pass over shared weights.

`workbench` opens data and models once; `cohort` trains and ranks on them, packed or padded.
"""
