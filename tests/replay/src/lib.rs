//! Replays recorded traffic of a real TiKV through the real puller, and golden vectors through the decoder.
