"""DICOM in, SQL, DICOM out. Never imports workers, torch or highdicom."""
