"""What a device does with an adapter: load it, rank with it, say why."""
