"""What is done with a model: evaluate, recommend, profile, export; other policies, ratings."""
