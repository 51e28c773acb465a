"""Backups: a folder that holds the database, the keys and every file that rows name, as they were at one moment."""

from node.backup.making import Source, make
from node.backup.manifest import Manifest, read, verify
from node.backup.restoring import Target, restore

__all__ = ["Manifest", "Source", "Target", "make", "read", "restore", "verify"]
