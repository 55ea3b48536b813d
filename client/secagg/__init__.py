"""A device's part in secure sums: made where the update is made."""
