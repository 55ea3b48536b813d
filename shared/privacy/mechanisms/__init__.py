"""How sums are noised, and where the noise comes from.

A mechanism knows its event and adds its own noise: independent (`gaussian`), correlated
over rounds (`correlated`, by the matrices of `toeplitz`), or in shares on a grid of integers
(`distributed`, by `skellam` on `fixed_point`). `source` is the generator under all of them.
"""
