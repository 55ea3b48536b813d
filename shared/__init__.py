"""What both sides must agree on: data, model, updates, privacy. Imports no other room."""
