"""The coordinator: one Flower ServerApp and one strategy, a federated round in reading order."""
