"""Attacks on runs and updates: who was in, which items they met, what kind of people they are.

Each knows what its threat model says and no more, and gives figures and a finding. Those that know
everybody's data are the auditor's alone: what they need no real server has.
"""
