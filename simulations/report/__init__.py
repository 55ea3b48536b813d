"""results.json -> figures and one self-contained HTML page."""
