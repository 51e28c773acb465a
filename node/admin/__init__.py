"""What the commands do: each returns a View, which a person reads as a table and a script as JSON."""
