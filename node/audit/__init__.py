"""What leaves the audit trail: anchors, and PS3.15 messages by syslog; the chain itself is domain/audit.py."""
