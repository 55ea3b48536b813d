"""The static side: what a replay and its files show of a promise, one question a function.

Every check is a function of what was observed, and says "violated" of correct code with probability
`RISK` at most.
"""
