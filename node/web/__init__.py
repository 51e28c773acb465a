"""Health, metrics, and later console and DICOMweb: an entry point beside cli.py."""
