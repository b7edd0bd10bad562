"""ReVersion: learn a relation as one token from exemplar pictures (arXiv 2303.13495)."""
