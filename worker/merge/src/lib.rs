//! Orders a span's changes by commit ts within a memory bound, spilling sorted runs to disk.
