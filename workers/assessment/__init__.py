"""Reads whole scans with known nodules, and measures how well: `nodus evaluate`."""
