"""The data sets that are known by name, for whoever only lists them: readers load pandas."""

WORLD = "world"
NAMES = (
    WORLD,
    "movielens-100k",
    "movielens-latest-small",
    "movielens-1m",
    "amazon-software",
    "amazon-arts-office",
)
