"""The coordinator: one federated round from top to bottom, and the run around it."""

COMMANDS = {  # what this room adds to the command line: name -> (where it stands, what it does)
    "policy key": (
        "server.commands.policy:key",
        "Print the operator's public key: what devices are configured with.",
    ),
    "policy show": (
        "server.commands.policy:show",
        "Say in words what a policy promises, or what a released adapter carries.",
    ),
}
