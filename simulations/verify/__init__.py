"""Whether what a run claims is what its ledgers show."""
