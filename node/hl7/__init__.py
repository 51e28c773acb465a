"""HL7 v2 messages: what they say, and how they are sent; knows no SQL."""
