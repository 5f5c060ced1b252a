//! The storage sink on a folder and on a real S3 server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test that can't go on has failed.

mod ddl;
mod fence;
mod folder;
mod late;
mod opening;
mod proxy;
mod restart;
mod s3;
mod setup;
mod shapes;
