"""The real thing on one machine: server, SuperNodes and devices, each a process of its own."""
