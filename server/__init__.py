"""The coordinator: one federated round from top to bottom, and the run around it."""

COMMANDS = {  # what this room adds to the command line: name -> (where it stands, what it does)
    "server": ("", "An operator's server."),
    "server init": (
        "server.commands.deploy:init",
        "Make a server: its certificate, settings, public items and initial adapter.",
    ),
    "server invite": (
        "server.commands.deploy:invite",
        "Write one-time invitations: one for each node.",
    ),
    "server revoke": (
        "server.commands.deploy:revoke",
        "Let an invitation's node in no more, or nobody where it was not used yet.",
    ),
    "server renew": (
        "server.commands.deploy:renew",
        "Make another certificate by the same authority: nodes go on, a restart shows it.",
    ),
    "server run": (
        "server.commands.deploy:run",
        "Be up: enrol nodes, wait for enough of them, carry out the run, publish its release.",
    ),
    "server status": (
        "server.commands.deploy:status",
        "Say how far the run is, who is connected, what was spent and released.",
    ),
    "policy key": (
        "server.commands.policy:key",
        "Print the operator's public key: what devices are configured with.",
    ),
    "policy show": (
        "server.commands.policy:show",
        "Say in words what a policy promises, or what a released adapter carries.",
    ),
}
