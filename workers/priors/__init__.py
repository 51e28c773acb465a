"""What was found now beside what was found in an earlier CT of the same patient."""
