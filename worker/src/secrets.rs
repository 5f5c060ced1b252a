//! Secrets in standalone mode: a folder that is laid out as Kubernetes mounts them.

use std::io;
use std::path::{Component, Path, PathBuf};

use tidemark_crds::Tls;
use tidemark_pull::Security;
use tidemark_sink::{Secrets, SinkError};

/// A folder with one folder a Secret and in it one file a key.
#[derive(Clone, Debug)]
pub struct SecretDir(PathBuf);

impl SecretDir {
    /// Secrets below this folder; it need not exist while no Secret is named.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }
}

impl Secrets for SecretDir {
    fn read(&self, secret: &str, key: &str) -> Result<Option<Vec<u8>>, SinkError> {
        let plain = |name: &str| {
            let mut parts = Path::new(name).components();
            matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
        };
        if !plain(secret) || !plain(key) {
            return Err(SinkError::Config(format!(
                "secret {secret:?}, key {key:?}: that is no name"
            )));
        }
        let path = self.0.join(secret).join(key);
        match std::fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SinkError::Config(format!(
                "secret {secret:?}: can't read {}: {error}",
                path.display()
            ))),
        }
    }
}

/// Certificates for the source, from its Secret.
pub fn source_security(secrets: &SecretDir, tls: Option<&Tls>) -> Result<Option<Security>, SinkError> {
    let Some(tls) = tls else { return Ok(None) };
    let Some(name) = &tls.secret_name else {
        return Ok(Some(Security::default()));
    };
    let read = |key| secrets.read(name, key);
    let (ca, cert, key) = (read("ca.crt")?, read("tls.crt")?, read("tls.key")?);
    if ca.is_none() {
        return Err(SinkError::Config(format!(
            "spec.source.tls.secretName: secret {name:?} has no key ca.crt: add the CA that signed PD's and TiKV's certificates"
        )));
    }
    if cert.is_some() != key.is_some() {
        return Err(SinkError::Config(format!(
            "spec.source.tls.secretName: secret {name:?} has only one of tls.crt and tls.key: add the other"
        )));
    }
    Ok(Some(Security { ca, cert, key }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_are_files_and_paths_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("kafka")).unwrap();
        std::fs::write(folder.path().join("kafka/username"), "me").unwrap();
        let secrets = SecretDir::new(folder.path().to_owned());
        assert_eq!(
            secrets.read("kafka", "username").unwrap().as_deref(),
            Some(b"me".as_slice())
        );
        assert_eq!(secrets.read("kafka", "password").unwrap(), None);
        assert!(secrets.read("../kafka", "username").is_err());
        assert!(secrets.read("kafka", "a/b").is_err());
    }
}
