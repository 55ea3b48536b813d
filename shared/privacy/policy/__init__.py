"""What an operator promises, signed; what an owner allows; which promise is weaker than which."""
