"""The device: one person's history, model, agreement and records.

`agreement` is the gate, asked before anything is computed; `device` answers what passed it; `clock`
counts days, `local` makes a device from a node's configuration, `rehearsal` asks a copy of one what
it would answer.
"""
