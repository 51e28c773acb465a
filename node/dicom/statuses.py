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

# C-MOVE and C-GET (PS3.4 Tables C.4-2 and C.4-3)
UNABLE_TO_COUNT = 0xA701
"""Refused: the number of matches cannot be calculated; here, it does not fit into the answer."""
SUB_OPERATIONS_FAILED = 0xA702
"""Refused: not one sub-operation could be performed."""
MOVE_DESTINATION_UNKNOWN = 0xA801
"""Nobody of that AE title is a destination, or images may not be moved to it."""
SUB_OPERATIONS_WITH_FAILURES = 0xB000
"""Warning: all sub-operations ended, one or more with a failure or a warning."""

# N-EVENT-REPORT (PS3.7 10.1.1.1.8)
NO_SUCH_EVENT_TYPE = 0x0113
"""PS3.7 C.5.13: storage commitment has two of them (PS3.4 J.3.3)."""
INVALID_ARGUMENT = 0x0115
"""PS3.7 C.5.3: the report does not parse, or nobody asked under its Transaction UID."""

# N-CREATE and N-SET (PS3.7 10.1.3, 10.1.5)
INVALID_ATTRIBUTE_VALUE = 0x0106
"""PS3.7 C.5.1: a status that does not exist, or not at that moment."""
NO_SUCH_SOP_INSTANCE = 0x0112
"""PS3.7 C.5.19: nobody told of this step."""
INVALID_OBJECT_INSTANCE = 0x0117
"""PS3.7 C.5.11: no UID, or none of at most 64 characters."""
NO_SUCH_SOP_CLASS = 0x0118
"""PS3.7 C.5.18."""
MISSING_ATTRIBUTE = 0x0120
"""PS3.7 C.5.14."""
MISSING_ATTRIBUTE_VALUE = 0x0121
"""PS3.7 C.5.12."""
UNRECOGNISED_OPERATION = 0x0211
"""PS3.7 C.5.22."""

# N-ACTION (PS3.7 10.1.4)
NO_SUCH_ACTION = 0x0123
"""PS3.7 C.5.10: storage commitment has one of them (PS3.4 J.3.2)."""

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
