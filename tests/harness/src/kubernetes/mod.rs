//! A real Kubernetes of version 1.36: the control plane alone, which is ready in seconds and enough for reconciling,
//! or with a node whose pods run.

mod binaries;
mod cleaner;
mod cluster;
mod command;
mod containers;
mod control_plane;
mod identity;
mod images;
mod network;
mod node;
mod options;
mod servers;

pub use binaries::KubernetesPrograms;
pub use cluster::KubernetesCluster;
pub use control_plane::ControlPlane;
pub use images::build_image_archive;
pub use options::ControlPlaneOptions;
