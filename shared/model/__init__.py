"""The recommender: frozen backbone, item vectors, scores, the adapter that is trained."""
