"""What Nodus talks about, in plain Python: no library, no I/O."""
