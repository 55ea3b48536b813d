"""One device: its gate, its training, what it recommends, and the relay that Flower starts."""

COMMANDS = {  # what this room adds to the command line: name -> (where it stands, what it does)
    "client": ("", "A person's own device."),
    "client identity": (
        "client.commands.gate:identity",
        "Print the public key by which other devices know this one in a secure sum.",
    ),
    "client init": (
        "client.commands.folder:init",
        "Make the folder of a device: whose it is, whom it heeds, and what it recommends from.",
    ),
    "client import": (
        "client.commands.folder:import_log",
        "Add what a log says that the device's person did.",
    ),
    "client update": (
        "client.commands.folder:update",
        "Install a release that the operator published: it is checked before it counts.",
    ),
    "client rollback": (
        "client.commands.folder:rollback",
        "Go back to the release before the current one.",
    ),
    "client pause": (
        "client.commands.folder:pause",
        "Take part in nothing until --off.",
    ),
    "client export": (
        "client.commands.folder:export",
        "Write all that the device keeps about its person into one readable file.",
    ),
    "client forget": (
        "client.commands.folder:forget",
        "Erase what the device keeps of its person, and take part in nothing any more.",
    ),
    "client serve": (
        "client.commands.gate:serve",
        "Be a device's own process: answer the relay of its node over a socket, until ended.",
    ),
    "client recommend": (
        "client.commands.person:recommend",
        "Recommend what the person did not choose yet, and say why.",
    ),
    "client why": (
        "client.commands.person:why",
        "Say what the score of an item is made of, recommended or not.",
    ),
    "client profile": (
        "client.commands.person:profile",
        "Say the person's taste in words, from what they chose and public texts alone.",
    ),
    "client feedback": (
        "client.commands.person:feedback",
        "Tell the device what the person thinks of an item.",
    ),
    "client budget": (
        "client.commands.person:budget",
        "Say what taking part has cost, what is left, and what left the device.",
    ),
    "client page": (
        "client.commands.person:page",
        "Show the device's page in a browser on this machine, until ended.",
    ),
    "client join": (
        "client.commands.join:join",
        "Enrol a node with an operator's server: check who it is, make the node's key.",
    ),
    "client relay": (
        "client.commands.join:relay",
        "Be the node's SuperNode: take messages to the device's process, and its answers back.",
    ),
    "policy check": (
        "client.commands.gate:check",
        "Answer as a device would, and exit with 0 if it takes part, 3 if it declines.",
    ),
    "policy spent": (
        "client.commands.gate:spent",
        "Say what a device agreed to, what its owner allows, and what that has cost.",
    ),
}
