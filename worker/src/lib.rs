//! The worker: streams a changefeed from TiKV to its sink.
