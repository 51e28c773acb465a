"""Makes each shipped weight from one command; imports the others, nobody imports it."""
