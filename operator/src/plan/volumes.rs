//! What a pod mounts, and where.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, SecretVolumeSource, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use tidemark_crds::{ChangefeedSpec, Quantity as Bytes};

use super::names;
use crate::secrets;

/// The folder of the feed's file.
pub(super) const FEED: &str = "/etc/tidemark/feed";
/// The folder that holds one folder a Secret.
pub(super) const SECRETS: &str = "/etc/tidemark/secrets";
/// The folder of the certificates by which workers know each other.
pub(super) const PEERS: &str = "/etc/tidemark/peers";
/// The only folder that is written.
pub(super) const STATE: &str = "/var/lib/tidemark";

/// Disk beside `limits.disk`: the schema, and files that are being replaced.
const DISK_BESIDE: Bytes = Bytes::mib(1024);
/// Owner and group may read.
const SECRET_MODE: i32 = 0o440;

/// Secrets' names can be longer than a volume's and hold dots, so volumes are numbered.
fn secret_volume(index: usize) -> String {
    format!("secret-{index}")
}

pub(super) fn volumes(feed: &str, spec: &ChangefeedSpec, revision: &str) -> Vec<Volume> {
    let disk = Bytes(spec.limits.disk.0.saturating_add(DISK_BESIDE.0));
    let mut volumes = vec![
        Volume {
            name: "feed".into(),
            config_map: Some(ConfigMapVolumeSource {
                name: names::config(feed, revision),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        secret("peers".into(), names::peers(feed)),
        Volume {
            name: "state".into(),
            empty_dir: Some(EmptyDirVolumeSource {
                size_limit: Some(Quantity(disk.into())),
                ..EmptyDirVolumeSource::default()
            }),
            ..Volume::default()
        },
    ];
    let secrets = secrets::names(spec).into_iter().enumerate();
    volumes.extend(secrets.map(|(index, name)| secret(secret_volume(index), name)));
    volumes
}

pub(super) fn mounts(spec: &ChangefeedSpec) -> Vec<VolumeMount> {
    let mount = |name: String, path: String, read_only: bool| VolumeMount {
        name,
        mount_path: path,
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts = vec![
        mount("feed".into(), FEED.into(), true),
        mount("peers".into(), PEERS.into(), true),
        mount("state".into(), STATE.into(), false),
    ];
    let secrets = secrets::names(spec).into_iter().enumerate();
    mounts
        .extend(secrets.map(|(index, name)| mount(secret_volume(index), format!("{SECRETS}/{name}"), true)));
    mounts
}

fn secret(volume: String, secret: String) -> Volume {
    Volume {
        name: volume,
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret),
            default_mode: Some(SECRET_MODE),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}
