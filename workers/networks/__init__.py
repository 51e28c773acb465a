"""torch only: one file a network, plus weights.py (name, version, SHA-256)."""
