//! Real servers for tests: Kafka, S3 and Kubernetes, from package registries, or the user's own.
//!
//! Every server runs as a child process on loopback, keeps its data in a temporary folder and goes away with the
//! process that started it, however that ends.

mod cache;
mod certificates;
mod folder;
mod kafka;
mod kubernetes;
mod process;
mod s3;
mod wait;

/// The errors of this crate, for the conditions of [`eventually`].
pub use anyhow;
pub use cache::{cache_dir, once_per_machine};
pub use certificates::Certificates;
pub use folder::Folder;
pub use kafka::{Kafka, KafkaOptions, Listener, Login, Record};
pub use kubernetes::{
    ControlPlane, ControlPlaneOptions, KubernetesCluster, KubernetesPrograms, build_image_archive,
};
pub use process::{Process, Signal, Usage};
pub use s3::S3Server;
pub use wait::{eventually, free_port};
