//! An embedded TiKV cluster: PD, TiKV and its CDC service over real sockets, in memory.
