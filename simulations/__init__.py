"""Many virtual devices on one machine or a cluster: the sweep, its report, and who checks it."""

COMMANDS = {  # what this room adds to the command line: name -> (where it stands, what it does)
    "simulate": (
        "simulations.commands.simulate:simulate",
        "Draw accuracy against privacy budget over virtual clients.",
    ),
    "verify": (
        "simulations.commands.verify:verify",
        "Recompute every epsilon of a run from its ledgers.",
    ),
    "audit": (
        "simulations.commands.audit:audit",
        "Attack a run and check what it promises; write a signed verdict and a page.",
    ),
    "policy": ("", "Make and read signed policies, and ask what a device would say."),
    "policy make": (
        "simulations.commands.policy:make",
        "Sign the policy of one point, before its run.",
    ),
    "federation": ("", "A real federation on this machine."),
    "federation up": (
        "simulations.commands.federation:up",
        "Run a real federation on this machine: TLS, node authentication, secure sums, processes.",
    ),
    "tune": (
        "simulations.commands.tune:tune",
        "Search settings on the world, a public log, or people's own under one budget.",
    ),
    "account": (
        "simulations.commands.account:account",
        "Epsilon, noise, rounds or sampling from the other three.",
    ),
    "data": ("simulations.commands.data:data", "List, inspect, fetch and make interaction logs."),
    "evaluate": (
        "simulations.commands.trained.adapter:evaluate_adapter",
        "Rank held-out items with an adapter, or value a policy by a log of what was shown.",
    ),
    "ratings": (
        "simulations.commands.trained.ratings:ratings",
        "Learn from ratings that people chose to give, corrected, and try it on random ones.",
    ),
    "recommend": (
        "simulations.commands.trained.adapter:recommend_items",
        "Recommend items to one user, and say why.",
    ),
    "profile": (
        "simulations.commands.trained.tastes:profile_user",
        "Say one user's taste in words.",
    ),
    "export": (
        "simulations.commands.trained.adapter:export_adapter",
        "Write an adapter for other libraries (PEFT), with a model card.",
    ),
    "doctor": ("simulations.doctor:main", "Check what this machine has, and say what to do."),
}
