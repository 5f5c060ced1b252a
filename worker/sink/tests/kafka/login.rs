use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidemark_harness::{Certificates, Folder, Kafka, Listener};
use tidemark_sink::SinkError;
use tidemark_sink::kafka::{KafkaPatience, KafkaSink};

use crate::setup::{
    Acks, Kept, PATIENCE, assert_whole_and_in_order, config_error, settings, table, utc, write_rows,
};

async fn connect(listener: Listener, topic: &str, more: Value, kept: &Kept) -> Result<KafkaSink, SinkError> {
    let kafka = Kafka::shared().await.unwrap();
    let settings = settings(&kafka.address(listener), topic, more);
    KafkaSink::connect(&settings, kept, &utc(), PATIENCE).await
}

fn login(user: &str, password: &str) -> Kept {
    Kept::default()
        .with("login", "username", user)
        .with("login", "password", password)
}

fn read(path: std::path::PathBuf) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

async fn assert_writes(sink: &KafkaSink, topic: &str) {
    use tidemark_sink::Sink;
    let acks = Acks::default();
    write_rows(sink, &table(1, "shop", "login"), &acks, (1000, 10, 2, 10))
        .await
        .unwrap();
    sink.flush().await.unwrap();
    let kafka = Kafka::shared().await.unwrap();
    assert_whole_and_in_order(&kafka.read(topic).await.unwrap(), 1000, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_login_mechanism_works_and_a_wrong_password_is_told_without_it() {
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let sasl = json!({"sasl": {"mechanism": mechanism, "secretName": "login"}});
        let topic = format!("login-{mechanism}");
        // Editors end files with a line break.
        let right = login("alice\n", "alice-secret\n");
        let sink = connect(Listener::Sasl, &topic, sasl.clone(), &right)
            .await
            .unwrap();
        assert!(!format!("{sink:?}").contains("alice-secret"));
        assert_writes(&sink, &topic).await;

        let begun = Instant::now();
        let text = config_error(connect(Listener::Sasl, &topic, sasl, &login("alice", "guessed")).await);
        assert!(
            text.contains("uthentication") && !text.contains("guessed"),
            "{mechanism}: {text}"
        );
        assert!(
            begun.elapsed() < PATIENCE.connect / 2,
            "a refusal is not waited out"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_without_its_keys_is_told_by_name() {
    let sasl = json!({"sasl": {"mechanism": "PLAIN", "secretName": "login"}});
    let kept = Kept::default().with("login", "username", "alice");
    let text = config_error(connect(Listener::Sasl, "t", sasl, &kept).await);
    assert!(
        text.contains("secret login") && text.contains("password"),
        "{text}"
    );

    let tls = json!({"tls": {"secretName": "tls"}});
    let kept = Kept::default().with("tls", "tls.crt", "x");
    let text = config_error(connect(Listener::Tls, "t", tls, &kept).await);
    assert!(text.contains("secret tls") && text.contains("tls.key"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_rights_is_refused_when_the_sink_is_opened() {
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        let sasl = json!({"sasl": {"mechanism": mechanism, "secretName": "login"}});
        let text =
            config_error(connect(Listener::Sasl, "forbidden", sasl, &login("bob", "bob-secret")).await);
        assert!(text.contains("right"), "{text}");
    }
    let kafka = Kafka::shared().await.unwrap();
    assert_eq!(kafka.partitions("forbidden").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_needs_the_right_authority_and_a_client_certificate_where_it_is_asked_for() {
    let kafka = Kafka::shared().await.unwrap();
    let made = kafka.certificates().unwrap();
    let tls = json!({"tls": {"secretName": "tls"}});
    let one_way = Kept::default().with("tls", "ca.crt", read(made.ca()));
    let sink = connect(Listener::Tls, "tls-one-way", tls.clone(), &one_way)
        .await
        .unwrap();
    assert_writes(&sink, "tls-one-way").await;

    let both_ways = Kept::default()
        .with("tls", "ca.crt", read(made.ca()))
        .with("tls", "tls.crt", read(made.client()))
        .with("tls", "tls.key", read(made.client_key()));
    let sink = connect(Listener::MutualTls, "tls-mutual", tls.clone(), &both_ways)
        .await
        .unwrap();
    assert_writes(&sink, "tls-mutual").await;

    let folder = Folder::new("other-ca").unwrap();
    let other = Certificates::make(folder.path()).unwrap();
    let wrong = Kept::default().with("tls", "ca.crt", read(other.ca()));
    let text = config_error(connect(Listener::Tls, "t", tls.clone(), &wrong).await);
    assert!(text.contains("certificate"), "{text}");

    let text = config_error(connect(Listener::MutualTls, "t", tls, &one_way).await);
    assert!(text.contains("refuses"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_works_over_tls() {
    let kafka = Kafka::shared().await.unwrap();
    let more =
        json!({"tls": {"secretName": "tls"}, "sasl": {"mechanism": "SCRAM-SHA-512", "secretName": "login"}});
    let kept = login("alice", "alice-secret").with("tls", "ca.crt", read(kafka.certificates().unwrap().ca()));
    let sink = connect(Listener::SaslTls, "sasl-tls", more, &kept).await.unwrap();
    assert_writes(&sink, "sasl-tls").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_address_is_told_within_the_deadline() {
    let port = tidemark_harness::free_port().unwrap();
    let settings = settings(&format!("127.0.0.1:{port}"), "t", json!({}));
    let patience = KafkaPatience {
        connect: Duration::from_secs(2),
        ..PATIENCE
    };
    let connected = KafkaSink::connect(&settings, &Kept::default(), &utc(), patience).await;
    let Err(SinkError::Unavailable(text)) = connected else {
        panic!("a broker may come back, but got {connected:?}");
    };
    let address = format!("127.0.0.1:{port}");
    assert!(
        text.contains(&address) && text.contains("sink.kafka.brokers"),
        "{text}"
    );

    let none = tidemark_crds::KafkaSink {
        brokers: Vec::new(),
        ..settings
    };
    let text = config_error(KafkaSink::connect(&none, &Kept::default(), &utc(), patience).await);
    assert!(text.contains("sink.kafka.brokers is empty"), "{text}");
}
