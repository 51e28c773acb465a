"""OHIF opens what we made: a built viewer of others, an Orthanc, a headless browser, and a picture of it."""
