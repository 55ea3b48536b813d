"""What runs beside a test: nodes, a SuperLink of its own, processes and their end."""
