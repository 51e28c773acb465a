"""What leaves the audit trail: anchors, and later PS3.15 messages; the chain itself is domain/audit.py."""
