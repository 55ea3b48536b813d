"""What one unit may add to a sum, and how that is bounded.

`clipping` is the clip itself and carries its sensitivity; `units` says which one the settings mean;
`bound`, `histogram` and `evaluation` are the contributions to updates, popularity and metrics.
"""
