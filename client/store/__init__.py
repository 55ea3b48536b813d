"""What a device keeps of its person, in one SQLite file: what they did, said, were shown."""

from client.store.shown import Placed, Shown
from client.store.store import FILE, Interaction, Store, erase, interactions_of

__all__ = ["FILE", "Interaction", "Placed", "Shown", "Store", "erase", "interactions_of"]
