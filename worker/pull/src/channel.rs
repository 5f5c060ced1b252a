use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::config::{NetConfig, Security};

/// Makes connections with the same TLS material and settings.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    security: Option<Security>,
    pub(crate) net: NetConfig,
}

impl Connector {
    pub(crate) fn new(security: Option<Security>, net: NetConfig) -> Self {
        Self { security, net }
    }

    pub(crate) fn with_net(&self, net: NetConfig) -> Self {
        Self::new(self.security.clone(), net)
    }

    /// A channel that connects on first use, and again after a failure.
    pub(crate) fn channel(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        let mut endpoint = Endpoint::from_shared(self.url(address))?
            .connect_timeout(self.net.connect_timeout)
            .http2_keep_alive_interval(self.net.keepalive_interval)
            .keep_alive_timeout(self.net.keepalive_timeout)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(self.net.stream_window)
            .initial_connection_window_size(self.net.connection_window)
            .tcp_nodelay(true);
        if let Some(security) = &self.security {
            let mut tls = ClientTlsConfig::new();
            if let Some(ca) = &security.ca {
                tls = tls.ca_certificate(Certificate::from_pem(ca));
            }
            if let (Some(cert), Some(key)) = (&security.cert, &security.key) {
                tls = tls.identity(Identity::from_pem(cert, key));
            }
            endpoint = endpoint.tls_config(tls)?;
        }
        Ok(endpoint.connect_lazy())
    }

    /// `host:port` or a URL of either scheme, with the scheme that the TLS setting asks for.
    fn url(&self, address: &str) -> String {
        let bare = address.split_once("://").map_or(address, |(_, rest)| rest);
        let scheme = if self.security.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", bare.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_follows_the_tls_setting() {
        let plain = Connector::new(None, NetConfig::default());
        assert_eq!(plain.url("pd-0:2379"), "http://pd-0:2379");
        assert_eq!(plain.url("http://pd-0:2379/"), "http://pd-0:2379");
        let tls = Connector::new(Some(Security::default()), NetConfig::default());
        assert_eq!(tls.url("http://pd-0:2379"), "https://pd-0:2379");
    }
}
