"""What a device keeps of its person: interactions and their word on items, in one SQLite file."""

from client.store.store import Interaction, Store, interactions_of

__all__ = ["Interaction", "Store", "interactions_of"]
