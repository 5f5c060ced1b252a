use std::path::{Path, PathBuf};

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use crate::error::FeedError;

/// The name in the certificate that all workers of a feed share.
const DNS_NAME: &str = "tidemark-peer";

/// The folder of the feed's Secret for its workers: `ca.crt`, `tls.crt`, `tls.key`.
#[derive(Clone, Debug)]
pub(crate) struct PeerTls(PathBuf);

impl PeerTls {
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Takes only clients with a certificate of the feed's authority.
    pub(crate) fn server(&self) -> Result<ServerTlsConfig, FeedError> {
        let (authority, identity) = self.read()?;
        Ok(ServerTlsConfig::new()
            .identity(identity)
            .client_ca_root(authority))
    }

    /// Shows its certificate and takes only a server with one of the feed's authority.
    pub(crate) fn client(&self) -> Result<ClientTlsConfig, FeedError> {
        let (authority, identity) = self.read()?;
        Ok(ClientTlsConfig::new()
            .domain_name(DNS_NAME)
            .ca_certificate(authority)
            .identity(identity))
    }

    fn read(&self) -> Result<(Certificate, Identity), FeedError> {
        let read = |name: &str| {
            let path = self.0.join(name);
            std::fs::read(&path).map_err(|error| {
                FeedError::Unavailable(format!(
                    "--peers: {}: {error}: the operator makes the Secret; delete it to have it made anew",
                    path.display()
                ))
            })
        };
        let authority = Certificate::from_pem(read("ca.crt")?);
        Ok((authority, Identity::from_pem(read("tls.crt")?, read("tls.key")?)))
    }
}
