"""Bad inputs that a person or a machine may come up with, and the laboratory that tries them."""
