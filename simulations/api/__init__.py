"""Starling from Python: simulate, and everything that can be asked of a run that is there.

`import starling` hands on `simulate` of `experiment`, `Run` and `load_run` of `run`, `Adapter` of
`adapter`, each imported when it is asked for; the commands print what they give. `options` is what
a simulation takes, under one name on the command line and as an argument; `settings` makes an
experiment of it.
"""
