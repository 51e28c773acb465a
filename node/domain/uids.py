"""UIDs that say the same thing twice when the same thing happens twice."""

import hashlib
from dataclasses import dataclass
from uuid import uuid4


def derived_uid(*parts: str) -> str:
    """Return a UID under 2.25 that depends on `parts` alone.

    The first 16 bytes of SHA-256 over the length-prefixed parts, marked as a custom UUID (RFC 9562 version 8),
    written as one decimal number (PS3.5 B.2). At most 44 characters.
    """
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        digest.update(len(raw).to_bytes(8, "big") + raw)
    value = int.from_bytes(digest.digest()[:16], "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"2.25.{value}"


def fresh_uid() -> str:
    """Return a UID under 2.25 that nobody has used: for what happens once, such as a transaction (PS3.5 B.2)."""
    return f"2.25.{uuid4().int}"


@dataclass(frozen=True)
class ResultIdentity:
    """Everything that may change what a result says. Same identity, same UIDs; a retry can never double a report."""

    sources: tuple[tuple[str, str], ...]
    """(SOP Instance UID, SHA-256 of the data set) of every image read, in volume order."""
    pipeline_version: str
    weights_sha256: str
    settings_digest: str
    """Digest of the settings that reach the content (language, thresholds)."""
    predecessor: str = ""
    """Identity of the result set that this one replaces, fixed when the job is created; empty for the first."""

    @property
    def digest(self) -> str:
        """SHA-256 over all of the above, hex."""
        flat = [text for source in self.sources for text in source]
        fixed = [self.pipeline_version, self.weights_sha256, self.settings_digest, self.predecessor]
        return hashlib.sha256("\x1f".join([*fixed, *flat]).encode()).hexdigest()

    def uid(self, kind: str, sop_class_uid: str = "", ordinal: int = 0) -> str:
        """UID of one thing of this result set: an instance, a series, a tracked nodule."""
        return derived_uid("nodus", kind, sop_class_uid, str(ordinal), self.digest)
