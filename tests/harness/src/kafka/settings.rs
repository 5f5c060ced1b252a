use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use super::{KafkaOptions, Listener, Login};
use crate::{Certificates, free_port};

/// One loopback port a listener.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    controller: u16,
    plain: u16,
    sasl: u16,
    tls: u16,
    mutual_tls: u16,
    sasl_tls: u16,
}

impl Ports {
    pub(super) fn free() -> Result<Self> {
        Ok(Self {
            controller: free_port()?,
            plain: free_port()?,
            sasl: free_port()?,
            tls: free_port()?,
            mutual_tls: free_port()?,
            sasl_tls: free_port()?,
        })
    }

    pub(super) fn of(&self, listener: Listener) -> u16 {
        match listener {
            Listener::Plain => self.plain,
            Listener::Sasl => self.sasl,
            Listener::Tls => self.tls,
            Listener::MutualTls => self.mutual_tls,
            Listener::SaslTls => self.sasl_tls,
        }
    }
}

/// Where clients connect.
pub(super) fn host(options: &KafkaOptions) -> String {
    options
        .address
        .map_or_else(|| "localhost".to_owned(), |address| address.to_string())
}

/// `server.properties`.
pub(super) fn properties(
    options: &KafkaOptions,
    ports: &Ports,
    data: &Path,
    certificates: Option<&Certificates>,
) -> Result<String> {
    let mut listeners = vec![("PLAIN", "PLAINTEXT", ports.plain)];
    if !options.logins.is_empty() {
        listeners.push(("SASL", "SASL_PLAINTEXT", ports.sasl));
    }
    if certificates.is_some() {
        listeners.push(("TLS", "SSL", ports.tls));
        listeners.push(("MTLS", "SSL", ports.mutual_tls));
        if !options.logins.is_empty() {
            listeners.push(("SASLTLS", "SASL_SSL", ports.sasl_tls));
        }
    }
    let host = host(options);
    let addresses = listeners
        .iter()
        .map(|(name, _, port)| format!("{name}://{host}:{port}"))
        .collect::<Vec<_>>()
        .join(",");
    let protocols = listeners
        .iter()
        .map(|(name, protocol, _)| format!(",{name}:{protocol}"))
        .collect::<String>();
    let controller = ports.controller;
    let data = data.display();
    let mut text = format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:{controller}
controller.listener.names=CONTROLLER
listeners=CONTROLLER://localhost:{controller},{addresses}
advertised.listeners={addresses}
inter.broker.listener.name=PLAIN
listener.security.protocol.map=CONTROLLER:PLAINTEXT{protocols}
log.dirs={data}
num.network.threads=2
num.io.threads=2
background.threads=2
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=8388608
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
"
    );
    if let Some(bytes) = options.max_message_bytes {
        writeln!(text, "message.max.bytes={bytes}\nreplica.fetch.max.bytes={bytes}")?;
    }
    if !options.logins.is_empty() {
        logins(&mut text, &options.logins)?;
    }
    if let Some(certificates) = certificates {
        tls(&mut text, certificates)?;
    }
    Ok(text)
}

fn logins(text: &mut String, logins: &[Login]) -> Result<()> {
    writeln!(text, "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512")?;
    for listener in ["sasl", "sasltls"] {
        let prefix = format!("listener.name.{listener}");
        write!(
            text,
            "{prefix}.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required"
        )?;
        for login in logins {
            write!(text, " user_{}=\"{}\"", login.user, login.password)?;
        }
        writeln!(text, ";")?;
        for mechanism in ["scram-sha-256", "scram-sha-512"] {
            writeln!(
                text,
                "{prefix}.{mechanism}.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;"
            )?;
        }
    }
    if logins.iter().any(|login| !login.may_do_all) {
        let mut all = vec!["User:ANONYMOUS".to_owned(), "User:CN=tidemark".to_owned()];
        all.extend(
            logins
                .iter()
                .filter(|login| login.may_do_all)
                .map(|login| format!("User:{}", login.user)),
        );
        writeln!(
            text,
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nsuper.users={}",
            all.join(";")
        )?;
    }
    Ok(())
}

fn tls(text: &mut String, certificates: &Certificates) -> Result<()> {
    // A PEM key store is one file: the key, then its certificate.
    let store = certificates.server().with_file_name("server.pem");
    let mut pem = std::fs::read(certificates.server_key())?;
    pem.extend(std::fs::read(certificates.server())?);
    std::fs::write(&store, pem)?;
    writeln!(
        text,
        "ssl.keystore.type=PEM
ssl.keystore.location={}
ssl.truststore.type=PEM
ssl.truststore.location={}
listener.name.mtls.ssl.client.auth=required",
        store.display(),
        certificates.ca().display()
    )?;
    Ok(())
}
