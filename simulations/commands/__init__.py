"""What is typed: flags read, work handed on, tables printed. `simulations.COMMANDS` lists it."""
