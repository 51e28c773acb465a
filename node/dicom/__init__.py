"""Network services: know pynetdicom, know no SQL."""
