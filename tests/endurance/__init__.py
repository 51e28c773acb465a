"""What a node must survive: kills at every arrow of the data's way, and days of work in an hour."""
