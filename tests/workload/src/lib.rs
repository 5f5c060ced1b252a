//! Writes to a TiKV cluster as TiDB does, and keeps the truth of what was committed.
