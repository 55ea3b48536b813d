"""Interaction logs: who met which item in which order, and how that becomes training and test.

`sources.open_log` finds and reads a log, `readers` hold the rules for files, `log` and
`catalogue` what was read, `split` what is held out, `windows` what is trained on. `population` is
what engines ask for, so that users may also be generated. Names are imported from their modules.
"""
