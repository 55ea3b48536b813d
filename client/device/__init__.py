"""The device: one person's history, model, agreement and records.

`folder` is where all of it lies, `resident` what stays of it from request to request. `agreement`
is the gate, asked before anything is computed; `device` answers what passed it; `clock` counts
days, `rehearsal` asks a copy of a device what it would answer.
"""
