"""DIMSE status codes by name, each with its place in the standard."""

SUCCESS = 0x0000
"""PS3.7 C.1."""

# C-STORE (PS3.4 Table B.2-1)
OUT_OF_RESOURCES = 0xA700
"""Refused: no room now; the sender should try again later."""
DATA_SET_MISMATCH = 0xA900
"""Error: the data set does not match the SOP class or instance that was announced, or belongs to another study."""
CANNOT_UNDERSTAND = 0xC000
"""Error: the data set does not parse."""

# C-FIND (PS3.4 Table C.4-1)
PENDING = 0xFF00
"""Matches continue; all optional keys are supported."""
PENDING_WITH_UNSUPPORTED_KEYS = 0xFF01
"""Matches continue; some optional keys are not supported."""
CANCELLED = 0xFE00
"""Terminated by a C-CANCEL."""
IDENTIFIER_MISMATCH = 0xA900
"""The identifier does not match the SOP class."""
UNABLE_TO_PROCESS = 0xC001
"""Failed for another reason."""

# any service (PS3.7 C)
PROCESSING_FAILURE = 0x0110
"""PS3.7 C.5.17: something unexpected; the log has it."""
DUPLICATE_SOP_INSTANCE = 0x0111
"""PS3.7 C.5.15: the instance is there already."""
SOP_CLASS_NOT_SUPPORTED = 0x0122
"""PS3.7 C.5.20."""
NOT_AUTHORISED = 0x0124
"""PS3.7 C.5.13."""

COERCED, ELEMENTS_DISCARDED, DOES_NOT_MATCH_SOP_CLASS = 0xB000, 0xB006, 0xB007
STORED_WITH_WARNING = frozenset({COERCED, ELEMENTS_DISCARDED, DOES_NOT_MATCH_SOP_CLASS})
"""PS3.4 Table B.2-1: stored all the same."""
