use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tidemark_proto::errorpb;
use tidemark_proto::tikvpb::tikv_client::TikvClient;
use tonic::transport::{Channel, Endpoint};

use super::command::Command;
use super::regions::{Region, Regions};
use super::{Backoff, ClientError, Pd, hex_text};
use crate::encode::decode_bytes;

/// How long one command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(15);
/// Payload of one command that takes several keys, about.
const BATCH_BYTES: usize = 256 << 10;
/// Commands under way at once for one transaction.
const CONCURRENCY: usize = 8;

/// The cluster's stores: sends commands to the leaders of regions. Clones share connections and caches.
#[derive(Clone)]
pub struct Stores {
    pub(super) pd: Pd,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    regions: Regions,
    clients: Mutex<HashMap<u64, TikvClient<Channel>>>,
}

/// An answer, and whether an earlier attempt may have been carried out too.
pub(super) struct Answer<T> {
    pub(super) reply: T,
    pub(super) uncertain: bool,
    /// The first key behind the region that answered; `None` for the last region.
    pub(super) region_end: Option<Bytes>,
}

impl<T> Answer<T> {
    fn of(reply: T, uncertain: bool, region: &Region) -> Self {
        Self {
            reply,
            uncertain,
            region_end: decode_bytes(&region.meta.end_key).map(Bytes::from),
        }
    }
}

/// Why an attempt gave no answer.
struct Failure {
    problem: String,
    /// Whether the command may have been carried out all the same.
    uncertain: bool,
}

impl Stores {
    /// Stores of the cluster that PD leads to.
    pub fn new(pd: Pd) -> Self {
        Self {
            pd,
            shared: Arc::default(),
        }
    }

    /// The placement driver.
    pub fn pd(&self) -> &Pd {
        &self.pd
    }

    /// Sends a command to the region of a key, again and again until its leader answers.
    pub(super) async fn at_key<C: Command>(
        &self,
        key: &[u8],
        command: C,
    ) -> Result<Answer<C::Reply>, ClientError> {
        let mut backoff = Backoff::new();
        let mut uncertain = false;
        loop {
            let region = self.shared.regions.locate(&self.pd, key).await?;
            match self.attempt(&region, command.clone()).await {
                Ok(reply) => return Ok(Answer::of(reply, uncertain, &region)),
                Err(failure) => {
                    uncertain |= failure.uncertain;
                    if !backoff.wait().await {
                        return Err(given_up::<C>(key, failure.problem));
                    }
                }
            }
        }
    }

    /// Splits items by region and size, sends a command for each part, several at once, and
    /// repeats those that failed until all are answered.
    pub(super) async fn scatter<T, C>(
        &self,
        items: Vec<T>,
        key: impl Fn(&T) -> &[u8] + Send + Sync,
        weight: impl Fn(&T) -> usize + Send + Sync,
        build: impl Fn(&[T]) -> C + Send + Sync,
    ) -> Result<Vec<Answer<C::Reply>>, ClientError>
    where
        T: Clone + Send + Sync,
        C: Command,
    {
        let mut backoff = Backoff::new();
        let mut uncertain = false;
        let mut pending = items;
        let mut answers = Vec::new();
        loop {
            let parts = self.split(&pending, &key, &weight).await?;
            pending = Vec::new();
            let mut last = String::new();
            let attempts = parts.into_iter().map(|(region, part)| {
                let command = build(&part);
                async move { (self.attempt(&region, command).await, region, part) }
            });
            let attempts: Vec<_> = attempts.collect();
            let mut running = stream::iter(attempts).buffer_unordered(CONCURRENCY);
            while let Some((result, region, part)) = running.next().await {
                match result {
                    Ok(reply) => answers.push(Answer::of(reply, uncertain, &region)),
                    Err(failure) => {
                        uncertain |= failure.uncertain;
                        last = failure.problem;
                        pending.extend(part);
                    }
                }
            }
            let Some(first) = pending.first() else {
                answers.iter_mut().for_each(|answer| answer.uncertain = uncertain);
                return Ok(answers);
            };
            if !backoff.wait().await {
                return Err(given_up::<C>(key(first), last));
            }
        }
    }

    /// How many commands the items would take.
    pub(super) async fn parts<T: Clone>(
        &self,
        items: &[T],
        key: impl Fn(&T) -> &[u8],
        weight: impl Fn(&T) -> usize,
    ) -> Result<usize, ClientError> {
        Ok(self.split(items, &key, &weight).await?.len())
    }

    async fn split<T: Clone>(
        &self,
        items: &[T],
        key: &impl Fn(&T) -> &[u8],
        weight: &impl Fn(&T) -> usize,
    ) -> Result<Vec<(Arc<Region>, Vec<T>)>, ClientError> {
        let mut open: HashMap<u64, usize> = HashMap::new();
        let mut parts: Vec<(Arc<Region>, Vec<T>, usize)> = Vec::new();
        for item in items {
            let region = self.shared.regions.locate(&self.pd, key(item)).await?;
            let id = region.meta.id;
            let index = match open.get(&id) {
                Some(index) if parts[*index].2 < BATCH_BYTES => *index,
                _ => {
                    parts.push((region, Vec::new(), 0));
                    open.insert(id, parts.len() - 1);
                    parts.len() - 1
                }
            };
            parts[index].1.push(item.clone());
            parts[index].2 += weight(item) + 32;
        }
        Ok(parts
            .into_iter()
            .map(|(region, part, _)| (region, part))
            .collect())
    }

    async fn attempt<C: Command>(&self, region: &Region, mut command: C) -> Result<C::Reply, Failure> {
        let client = self
            .client(region.leader.store_id)
            .await
            .map_err(|problem| Failure {
                problem: problem.to_string(),
                uncertain: false,
            })?;
        command.set_context(region.context());
        let lost = |problem: String| {
            self.shared.regions.forget(region);
            self.shared.clients.lock().remove(&region.leader.store_id);
            Failure {
                problem,
                uncertain: true,
            }
        };
        match tokio::time::timeout(COMMAND_LIMIT, command.send(client)).await {
            Err(_) => Err(lost(format!("store {} doesn't answer", region.leader.store_id))),
            Ok(Err(status)) => Err(lost(status.to_string())),
            Ok(Ok(mut reply)) => match C::region_error(&mut reply) {
                None => Ok(reply),
                Some(error) => Err(self.learn(region, &error)),
            },
        }
    }

    fn learn(&self, region: &Region, error: &errorpb::Error) -> Failure {
        let leader = error.not_leader.as_ref().and_then(|not_leader| not_leader.leader);
        match leader {
            Some(leader) if leader.id != 0 && leader.store_id != 0 => {
                self.shared.regions.move_leader(region, leader);
            }
            // A busy server has the region still; anything else may mean that it has changed.
            _ if error.server_is_busy.is_some() => {}
            _ => self.shared.regions.forget(region),
        }
        Failure {
            uncertain: error.undetermined_result.is_some(),
            problem: format!("{error:?}"),
        }
    }

    async fn client(&self, store_id: u64) -> Result<TikvClient<Channel>, ClientError> {
        if let Some(client) = self.shared.clients.lock().get(&store_id) {
            return Ok(client.clone());
        }
        let store = self.pd.store(store_id).await?;
        let url = format!("http://{}", store.address);
        let endpoint = Endpoint::from_shared(url).map_err(|problem| ClientError::Refused {
            command: "connect",
            problem: format!(
                "the address {:?} of store {store_id} is no host:port: {problem}",
                store.address
            ),
        })?;
        let channel = endpoint.connect_timeout(Duration::from_secs(2)).connect_lazy();
        let client = TikvClient::new(channel)
            .max_decoding_message_size(256 << 20)
            .max_encoding_message_size(256 << 20);
        self.shared.clients.lock().insert(store_id, client.clone());
        Ok(client)
    }
}

fn given_up<C: Command>(key: &[u8], last: String) -> ClientError {
    ClientError::Region {
        command: C::NAME,
        key: hex_text(key),
        last,
    }
}
