"""The only SQL outside migrations/: named queries; domain types in and out."""
