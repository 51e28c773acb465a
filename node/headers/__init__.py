"""The only place that reads tags for the catalog: Dataset to InstanceHeader (pydicom only; workers may use it)."""

from node.headers.elements import read_elements
from node.headers.header import data_set_digest, header_of, read_header

__all__ = ["data_set_digest", "header_of", "read_elements", "read_header"]
