"""Where weights and item vectors come from, and how vectors of one model enter another."""
