use std::net::Ipv4Addr;

/// What a Kafka server of the tests' own is to have besides its plain listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaOptions {
    /// Logins of the SASL listeners, by PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512; none: no such listener is of use.
    pub logins: Vec<Login>,
    /// Whether the TLS listeners are there.
    pub tls: bool,
    /// The broker's `message.max.bytes`; none: Kafka's default of 1 MiB and 12 B.
    pub max_message_bytes: Option<usize>,
    /// The address on which it listens and which it tells its clients; none: localhost. TLS certificates are for
    /// localhost alone.
    pub address: Option<Ipv4Addr>,
}

impl KafkaOptions {
    /// TLS, and the logins `alice` (may do all) and `bob` (may do nothing), each with the password `NAME-secret`.
    pub fn everything() -> Self {
        let login = |user: &str, all| Login {
            user: user.into(),
            password: format!("{user}-secret"),
            may_do_all: all,
        };
        Self {
            logins: vec![login("alice", true), login("bob", false)],
            tls: true,
            max_message_bytes: None,
            address: None,
        }
    }
}

/// A name and password that a Kafka server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
    /// Whether it may do all; else it may do nothing.
    pub may_do_all: bool,
}

/// Where clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// No encryption, no login.
    Plain,
    /// Login without encryption.
    Sasl,
    /// TLS.
    Tls,
    /// TLS with a client certificate.
    MutualTls,
    /// Login over TLS.
    SaslTls,
}
