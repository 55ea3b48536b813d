"""What a device keeps of its person: interactions and their word on items, in one SQLite file."""

from client.store.store import Interaction, Store

__all__ = ["Interaction", "Store"]
