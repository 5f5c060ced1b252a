//! gRPC messages and services: of PD and TiKV, as far as CDC and its tests need them, and of workers among themselves.
//!
//! Generated from the files in `proto/`. All `bytes` fields are [`bytes::Bytes`], so decoding a
//! message shares the received frame and copies no key and no value.
#![allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]

macro_rules! package {
    ($($name:ident),*) => {$(
        pub mod $name {
            include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
        }
    )*};
}

package!(cdcpb, errorpb, kvrpcpb, metapb, pdpb, peerspb, tikvpb);
