//! A real Kafka: one KRaft node that is broker and controller, from the jars of Maven Central.

mod jars;
mod options;
mod records;
mod settings;

pub use options::{KafkaOptions, Listener, Login};
pub use records::Record;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::OnceCell;

use crate::{Certificates, Folder, Process, Signal, eventually};
use settings::Ports;

/// Until a server answers, and until it has gone.
const PATIENCE: Duration = Duration::from_secs(90);

static SHARED: OnceCell<Kafka> = OnceCell::const_new();

/// A Kafka server of the tests' own, or the user's (`TIDEMARK_TEST_KAFKA=host:port,…`).
#[derive(Debug)]
pub struct Kafka {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Users(String),
    Own(Box<Own>),
}

#[derive(Debug)]
struct Own {
    process: Mutex<Process>,
    host: String,
    ports: Ports,
    certificates: Option<Certificates>,
    folder: Folder,
}

impl Kafka {
    /// A server that all tests of this process share: with every listener, the logins of
    /// [`KafkaOptions::everything`], and no way to stop it.
    pub async fn shared() -> Result<&'static Self> {
        SHARED
            .get_or_try_init(|| Self::own(KafkaOptions::everything()))
            .await
    }

    /// The user's server if `TIDEMARK_TEST_KAFKA` names one and the options ask for nothing special; else a new one.
    pub async fn start(options: KafkaOptions) -> Result<Self> {
        match std::env::var("TIDEMARK_TEST_KAFKA") {
            Ok(brokers) if !brokers.is_empty() && options == KafkaOptions::default() => {
                let kafka = Self {
                    kind: Kind::Users(brokers),
                };
                kafka.ready().await?;
                Ok(kafka)
            }
            _ => Self::own(options).await,
        }
    }

    /// A new server, for tests that stop, pause or kill it.
    pub async fn own(options: KafkaOptions) -> Result<Self> {
        let begun = Instant::now();
        let mut folder = Folder::new("kafka")?;
        let certificates = options
            .tls
            .then(|| Certificates::make(folder.path()))
            .transpose()?;
        let jars = tokio::task::spawn_blocking(jars::jars).await??;
        let mut tries = 0;
        loop {
            // A free port may be taken by another process before the server binds it.
            let ports = Ports::free()?;
            let data = folder.path().join(format!("data{tries}"));
            let text = settings::properties(&options, &ports, &data, certificates.as_ref())?;
            std::fs::write(folder.path().join("server.properties"), text)?;
            let (format, lib) = (options.clone(), jars.clone());
            let path = folder.path().to_path_buf();
            tokio::task::spawn_blocking(move || format_storage(&path, &lib, &format)).await??;
            let process = run(&folder, &jars)?;
            let kafka = Self {
                kind: Kind::Own(Box::new(Own {
                    process: Mutex::new(process),
                    host: settings::host(&options),
                    ports,
                    certificates: certificates.clone(),
                    folder,
                })),
            };
            match kafka.ready().await {
                Ok(()) => {
                    eprintln!(
                        "kafka: ready at {} after {:.1?}",
                        kafka.bootstrap(),
                        begun.elapsed()
                    );
                    return Ok(kafka);
                }
                Err(error) if tries < 2 && format!("{error:#}").contains("Address already in use") => {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
            let Kind::Own(own) = kafka.kind else {
                bail!("a server of one's own")
            };
            folder = own.folder;
        }
    }

    /// The address of the plain listener, `host:port`.
    pub fn bootstrap(&self) -> String {
        self.address(Listener::Plain)
    }

    /// The address of a listener. A user's own server has one for all.
    pub fn address(&self, listener: Listener) -> String {
        match &self.kind {
            Kind::Users(brokers) => brokers.clone(),
            Kind::Own(own) => format!("{}:{}", own.host, own.ports.of(listener)),
        }
    }

    /// The certificates of the TLS listeners.
    pub fn certificates(&self) -> Option<&Certificates> {
        match &self.kind {
            Kind::Users(_) => None,
            Kind::Own(own) => own.certificates.as_ref(),
        }
    }

    /// The server's process id.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.own_process()?.process.lock().pid())
    }

    /// Stops it from running without closing its connections (SIGSTOP).
    pub fn pause(&self) -> Result<()> {
        self.own_process()?.process.lock().signal(Signal::STOP)
    }

    /// Lets it run on (SIGCONT).
    pub fn resume(&self) -> Result<()> {
        self.own_process()?.process.lock().signal(Signal::CONT)
    }

    /// Kills it (SIGKILL).
    pub fn kill(&self) -> Result<()> {
        self.own_process()?.process.lock().kill()
    }

    /// Asks it to end (SIGTERM) and waits.
    pub async fn stop(&self) -> Result<()> {
        let own = self.own_process()?;
        own.process.lock().signal(Signal::TERM)?;
        eventually(PATIENCE, "end of kafka", || async {
            ensure!(own.process.lock().exited()?.is_some(), "still running");
            Ok(())
        })
        .await
    }

    /// Starts it again on the same ports and data after [`Kafka::kill`] or [`Kafka::stop`].
    pub async fn restart(&self) -> Result<()> {
        let own = self.own_process()?;
        let jars = tokio::task::spawn_blocking(jars::jars).await??;
        let fresh = run(&own.folder, &jars)?;
        *own.process.lock() = fresh;
        self.ready().await
    }

    /// Creates a topic with so many partitions and settings like `("max.message.bytes", "2000")`.
    pub async fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let options = AdminOptions::new()
            .operation_timeout(Some(PATIENCE))
            .request_timeout(Some(PATIENCE));
        for result in admin.create_topics(&[topic], &options).await? {
            result.map_err(|(topic, code)| anyhow::anyhow!("create topic {topic}: {code}"))?;
        }
        eventually(PATIENCE, &format!("topic {name}"), || async {
            let seen = self.partitions(name).await?;
            ensure!(seen == partitions, "{seen} partitions");
            Ok(())
        })
        .await
    }

    /// Partitions of a topic; 0 if there is no such topic.
    pub async fn partitions(&self, topic: &str) -> Result<i32> {
        let (config, topic) = (self.client(), topic.to_owned());
        tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create()?;
            let metadata = consumer.fetch_metadata(Some(&topic), Duration::from_secs(10))?;
            Ok(metadata
                .topics()
                .first()
                .map_or(0, |topic| topic.partitions().len() as i32))
        })
        .await?
    }

    /// All records that are in a topic now, partition by partition in order of offset.
    pub async fn read(&self, topic: &str) -> Result<Vec<Record>> {
        let (config, topic) = (self.client(), topic.to_owned());
        tokio::task::spawn_blocking(move || records::read(&config, &topic, PATIENCE)).await?
    }

    /// Settings of a client of the plain listener.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.bootstrap())
            .set("broker.address.family", "v4")
            .set("topic.metadata.propagation.max.ms", "1000")
            .set("group.id", "tidemark-test")
            .set("allow.auto.create.topics", "false")
            .set("enable.auto.commit", "false");
        config
    }

    fn own_process(&self) -> Result<&Own> {
        match &self.kind {
            Kind::Own(own) => Ok(own),
            Kind::Users(brokers) => bail!("{brokers} is the user's Kafka and is not for stopping"),
        }
    }

    async fn ready(&self) -> Result<()> {
        let config = self.client();
        let consumer: Arc<BaseConsumer> = Arc::new(config.create()?);
        eventually(PATIENCE, "answer of kafka", || async {
            if let Kind::Own(own) = &self.kind {
                let mut process = own.process.lock();
                if let Some(status) = process.exited()? {
                    let tail = process.log_tail();
                    return Ok(Err(anyhow::anyhow!("kafka ended at its start: {status}\n{tail}")));
                }
            }
            let consumer = Arc::clone(&consumer);
            let metadata =
                tokio::task::spawn_blocking(move || consumer.fetch_metadata(None, Duration::from_secs(1)))
                    .await??;
            ensure!(!metadata.brokers().is_empty(), "no broker has registered");
            Ok(Ok(()))
        })
        .await?
    }
}

fn run(folder: &Folder, jars: &Path) -> Result<Process> {
    let path = folder.path();
    let mut command = java(jars);
    command
        .args(["-Xmx384m", "-Xms128m", "-XX:+UseSerialGC", "-Xshare:auto"])
        .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "kafka.Kafka"])
        .arg(path.join("server.properties"))
        .current_dir(path);
    Process::spawn("kafka", &mut command, &path.join("kafka.log"), Some(folder))
}

fn format_storage(path: &Path, jars: &Path, options: &KafkaOptions) -> Result<()> {
    let mut command = java(jars);
    command
        .args([
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        ])
        .args([
            "kafka.tools.StorageTool",
            "format",
            "--standalone",
            "-t",
            "dGlkZW1hcmsta2Fma2EtMQ",
            "-c",
        ])
        .arg(path.join("server.properties"));
    for login in &options.logins {
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            command.arg("--add-scram").arg(format!(
                "{mechanism}=[name={},iterations=4096,password={}]",
                login.user, login.password
            ));
        }
    }
    let out = command
        .output()
        .context("run java (Debian package default-jre-headless)")?;
    if !out.status.success() {
        bail!(
            "format kafka's storage: {}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(())
}

fn java(jars: &Path) -> Command {
    let mut command = Command::new("java");
    command.arg("-cp").arg(jars.join("*"));
    command
}
