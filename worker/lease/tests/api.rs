//! Contenders against a real API server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tidemark_harness::anyhow::{Context, Result, ensure};
use tidemark_harness::{ControlPlane, ControlPlaneOptions};
use tidemark_lease::{
    Contender, Holding, LeaseCreation, LeaseObserver, LeaseSettings, LeaseState, LeaseTimes, LossReason,
    Standing,
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(40);

/// Long enough that a busy machine doesn't lose its Leases, short enough to see one expire.
fn times() -> Result<LeaseTimes> {
    Ok(LeaseTimes::new(
        Duration::from_secs(6),
        Duration::from_secs(4),
        Duration::from_millis(500),
    )?)
}

struct Running {
    contender: Contender,
    stop: CancellationToken,
}

impl Running {
    fn start(client: &Client, name: &str, identity: &str, creates: bool) -> Result<Self> {
        let settings = LeaseSettings {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            times: times()?,
            create: creates.then(|| LeaseCreation {
                labels: BTreeMap::from([("app".to_owned(), "tidemark".to_owned())]),
                ..LeaseCreation::default()
            }),
            annotations: BTreeMap::from([("tidemark.io/address".to_owned(), format!("{identity}:7000"))]),
            lineage: None,
        };
        let stop = CancellationToken::new();
        let contender = Contender::spawn(client.clone(), settings, stop.clone());
        Ok(Self { contender, stop })
    }

    async fn until(&self, what: &str, condition: impl FnMut(&Standing) -> bool) -> Result<Standing> {
        let mut standing = self.contender.standing();
        let seen = tokio::time::timeout(PATIENCE, standing.wait_for(condition)).await;
        Ok(seen
            .with_context(|| format!("{what}: not within {PATIENCE:?}"))??
            .clone())
    }

    async fn held(&self, what: &str) -> Result<Standing> {
        let standing = self.until(what, Standing::is_held).await?;
        ensure!(
            self.contender.authority().holds(),
            "{what}: held without authority"
        );
        Ok(standing)
    }

    async fn stop(self) {
        self.stop.cancel();
        self.contender.finished().await;
    }
}

async fn client(plane: &ControlPlane) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn holder(lease: &Lease) -> &str {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or("")
}

/// One API server for all, since it takes long to start; each part has a Lease of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contenders_keep_to_the_rules_of_a_real_api_server() -> Result<()> {
    let plane = ControlPlane::own(ControlPlaneOptions::default().without_controllers()).await?;
    let client = client(&plane).await?;
    let leases = Api::<Lease>::namespaced(client.clone(), "default");
    a_release_hands_over_at_once(&client, &leases).await?;
    a_silent_holder_is_replaced_after_the_duration(&client, &leases).await?;
    a_deleted_lease_is_made_anew_or_lost(&client, &leases).await?;
    a_replace_does_not_bring_a_deleted_lease_back(&client, &leases).await?;
    authority_ends_by_itself_without_an_api_server(&client, &plane).await
}

async fn a_release_hands_over_at_once(client: &Client, leases: &Api<Lease>) -> Result<()> {
    let first = Running::start(client, "handover", "a", true)?;
    let held = first.held("the first contender holds").await?;
    ensure!(held.term == 1);
    let second = Running::start(client, "handover", "b", true)?;
    let waiting = second
        .until("the second sees the holder", |standing| standing.seen.is_some())
        .await?;
    let seen = waiting.seen.context("seen")?;
    ensure!(seen.holder.as_deref() == Some("a"));
    ensure!(seen.annotations["tidemark.io/address"] == "a:7000");
    let made = leases.get("handover").await?;
    ensure!(made.metadata.labels.context("labels")?["app"] == "tidemark");
    // Longer than a duration: renewals keep the second out.
    tokio::time::sleep(Duration::from_secs(7)).await;
    ensure!(first.contender.authority().holds() && !second.contender.authority().holds());
    ensure!(second.contender.standing().borrow().holding == Holding::Waiting);

    let authority = first.contender.authority();
    let begun = Instant::now();
    first.stop().await;
    ensure!(!authority.holds());
    second.held("the second takes over").await?;
    let took = begun.elapsed();
    eprintln!("handed over in {took:?}");
    ensure!(took < times()?.duration / 2, "took {took:?}");
    let lease = leases.get("handover").await?;
    ensure!(holder(&lease) == "b" && lease.spec.and_then(|spec| spec.lease_transitions) == Some(1));
    second.stop().await;

    let released = leases.get("handover").await?;
    ensure!(holder(&released).is_empty());
    let observed = LeaseObserver::new().observe(&[released], Instant::now());
    ensure!(observed[0].state == LeaseState::Released);
    Ok(())
}

/// The holder's record stays as it is, as after a crash: nobody renews it.
async fn a_silent_holder_is_replaced_after_the_duration(client: &Client, leases: &Api<Lease>) -> Result<()> {
    let holder_before = Running::start(client, "silent", "crashed", true)?;
    holder_before.held("the first holds").await?;
    let mut record = leases.get("silent").await?;
    holder_before.stop().await;
    record.metadata.resource_version = leases.get("silent").await?.metadata.resource_version;
    leases.replace("silent", &PostParams::default(), &record).await?;

    let begun = Instant::now();
    let second = Running::start(client, "silent", "b", true)?;
    second.held("the second takes it").await?;
    let took = begun.elapsed();
    eprintln!("a silent holder was replaced after {took:?}");
    ensure!(took >= times()?.duration, "took {took:?}");
    second.stop().await;
    Ok(())
}

async fn a_deleted_lease_is_made_anew_or_lost(client: &Client, leases: &Api<Lease>) -> Result<()> {
    let maker = Running::start(client, "deleted", "a", true)?;
    maker.held("the maker holds").await?;
    leases.delete("deleted", &DeleteParams::default()).await?;
    maker
        .until("a new term in a new Lease", |standing| {
            standing.is_held() && standing.term == 2
        })
        .await?;
    maker.stop().await;

    let taker = Running::start(client, "deleted", "b", false)?;
    taker.held("the taker holds").await?;
    leases.delete("deleted", &DeleteParams::default()).await?;
    taker
        .until("a lost Lease", |standing| {
            standing.holding == Holding::Lost(LossReason::Deleted)
        })
        .await?;
    ensure!(!taker.contender.authority().holds());
    taker.stop().await;
    ensure!(
        leases.get_opt("deleted").await?.is_none(),
        "made a Lease that isn't its to make"
    );
    Ok(())
}

/// Leases may be created by PUT; the UID in it prevents that.
async fn a_replace_does_not_bring_a_deleted_lease_back(client: &Client, leases: &Api<Lease>) -> Result<()> {
    let maker = Running::start(client, "replaced", "a", true)?;
    maker.held("the maker holds").await?;
    maker.stop().await;
    let old = leases.get("replaced").await?;
    leases.delete("replaced", &DeleteParams::default()).await?;
    let answer = leases.replace("replaced", &PostParams::default(), &old).await;
    eprintln!("PUT on a deleted Lease: {answer:?}");
    ensure!(matches!(&answer, Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404));
    ensure!(leases.get_opt("replaced").await?.is_none());
    Ok(())
}

async fn authority_ends_by_itself_without_an_api_server(client: &Client, plane: &ControlPlane) -> Result<()> {
    let running = Running::start(client, "outage", "a", true)?;
    let authority = running.contender.authority();
    running.held("holds before the outage").await?;

    // Connections stay open and nothing answers.
    plane.pause_api_server()?;
    let begun = Instant::now();
    let expired = |standing: &Standing| standing.holding == Holding::Lost(LossReason::Expired);
    running.until("lost in silence", expired).await?;
    let took = begun.elapsed();
    eprintln!("authority ended {took:?} after the API server fell silent");
    ensure!(!authority.holds() && authority.unreachable_since().is_some());
    ensure!(
        took <= times()?.renew_deadline + Duration::from_secs(1),
        "took {took:?}"
    );
    plane.resume_api_server()?;
    running
        .until("a new term", |standing| standing.is_held() && standing.term == 2)
        .await?;
    ensure!(authority.unreachable_since().is_none() && authority.holds_term(2) && !authority.holds_term(1));

    // Connections are refused.
    plane.stop_api_server()?;
    let begun = Instant::now();
    running.until("lost without a server", expired).await?;
    ensure!(begun.elapsed() <= times()?.renew_deadline + Duration::from_secs(1));
    plane.start_api_server().await?;
    running
        .until("a third term", |standing| {
            standing.is_held() && standing.term == 3
        })
        .await?;

    // A stop during an outage ends all the same.
    plane.stop_api_server()?;
    let begun = Instant::now();
    running.stop().await;
    ensure!(begun.elapsed() <= 2 * times()?.renew_deadline);
    Ok(())
}
