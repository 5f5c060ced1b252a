//! How workers reach each other: gRPC under mutual TLS with a certificate of the feed's own Secret.

mod client;
mod server;
mod tls;

pub(crate) use client::{JoinError, Joined, join};
pub(crate) use server::{Arrival, Door, Link, serve};
pub(crate) use tls::PeerTls;
