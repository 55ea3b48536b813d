"""What a device keeps of its person: interactions and their word on items, in one SQLite file."""

from client.store.store import FILE, Interaction, Store, erase, interactions_of

__all__ = ["FILE", "Interaction", "Store", "erase", "interactions_of"]
