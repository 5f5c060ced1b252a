use std::time::Duration;

use tidemark_model::Ts;
use tidemark_proto::pdpb;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use super::members::Members;
use super::{PdClient, PdError, RETRY_PAUSE, TRY_TIMEOUT, error};

/// Requests that may wait for a timestamp.
const WAITING: usize = 4096;
/// Most timestamps asked for in one message.
const BATCH: usize = 1024;
const WHAT: &str = "Tso";

type Answer = oneshot::Sender<Result<Ts, PdError>>;

/// Hands out timestamps: whoever waits at the same time shares one message to PD.
#[derive(Debug)]
pub(super) struct TsoClient {
    waiting: mpsc::Sender<Answer>,
}

impl TsoClient {
    /// Starts the task that owns the stream; it ends with the last client.
    pub(super) fn start(members: Members) -> Self {
        let (waiting, requests) = mpsc::channel(WAITING);
        tokio::spawn(serve(members, requests));
        Self { waiting }
    }
}

impl PdClient {
    /// A fresh timestamp, later than all given before by this cluster.
    pub async fn tso(&self) -> Result<Ts, PdError> {
        let end = tokio::time::Instant::now() + self.inner.deadline;
        loop {
            let (answer, result) = oneshot::channel();
            let asked = async {
                let gone = |_| PdError::NoLeader {
                    message: "the timestamp stream ended".to_owned(),
                };
                self.inner
                    .tso
                    .waiting
                    .send(answer)
                    .await
                    .map_err(|_| PdError::Deadline { what: WHAT })?;
                result.await.map_err(gone)?
            };
            let error = match tokio::time::timeout_at(end, asked).await {
                Ok(Ok(ts)) => return Ok(ts),
                Ok(Err(error)) => error,
                Err(_) => return Err(PdError::Deadline { what: WHAT }),
            };
            if !error.is_retryable() || tokio::time::Instant::now() + RETRY_PAUSE >= end {
                return Err(error);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// Opens a stream when someone waits; after a failure the waiting are told, and come back.
async fn serve(members: Members, mut requests: mpsc::Receiver<Answer>) {
    let mut batch = Vec::new();
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        if let Err(error) = stream(&members, &mut requests, &mut batch).await {
            let mut error = Some(error);
            for answer in batch.drain(..) {
                let told = error.take().unwrap_or_else(|| PdError::NoLeader {
                    message: "the timestamp stream failed".to_owned(),
                });
                // Whoever stopped waiting needs no answer.
                let _ = answer.send(Err(told));
            }
        }
    }
}

/// Serves the batch and all later ones over one stream, until it fails or nobody asks any more.
async fn stream(
    members: &Members,
    requests: &mut mpsc::Receiver<Answer>,
    batch: &mut Vec<Answer>,
) -> Result<(), PdError> {
    let leader = members.leader().await?;
    let fail = |status: tonic::Status| {
        let error = error::of_status(WHAT, &leader.url, &status);
        if error.is_retryable() {
            members.suspect(&leader);
        }
        error
    };
    let late = |_| {
        members.suspect(&leader);
        PdError::Deadline { what: WHAT }
    };
    let (sender, receiver) = mpsc::channel(1);
    // The first message goes out along with the call: a server may hold its headers back until then.
    let request = |batch: &[Answer]| pdpb::TsoRequest {
        header: members.header(),
        count: u32::try_from(batch.len()).unwrap_or(1),
        dc_location: "global".to_owned(),
    };
    let ended = || tonic::Status::unavailable("the stream ended");
    sender.send(request(batch)).await.map_err(|_| fail(ended()))?;
    let mut grpc = leader.grpc();
    let opened = tokio::time::timeout(TRY_TIMEOUT, grpc.tso(ReceiverStream::new(receiver)));
    let mut answers = opened.await.map_err(late)?.map_err(fail)?.into_inner();
    loop {
        let answer = tokio::time::timeout(TRY_TIMEOUT, answers.message())
            .await
            .map_err(late)?;
        let answer = answer.map_err(fail)?.ok_or_else(|| fail(ended()))?;
        if let Some(error) = error::of_header(WHAT, answer.header.as_ref()) {
            return Err(error);
        }
        let last = answer.timestamp.unwrap_or_default();
        let physical = u64::try_from(last.physical).unwrap_or_default();
        let logical = u64::try_from(last.logical).unwrap_or_default();
        let count = batch.len() as u64;
        if physical == 0 || u64::from(answer.count) != count || logical + 1 < count {
            return Err(PdError::Refused {
                what: WHAT,
                message: format!(
                    "{count} timestamps were asked for, {} came: {last:?}",
                    answer.count
                ),
            });
        }
        for (nth, waiting) in (0..).zip(batch.drain(..)) {
            let _ = waiting.send(Ok(Ts::new(physical, logical + 1 - count + nth)));
        }
        if tokio::time::timeout(IDLE, requests.recv_many(batch, BATCH))
            .await
            .is_err()
        {
            // An idle stream could die unnoticed; the next request opens a new one.
            return Ok(());
        }
        if batch.is_empty() {
            return Ok(());
        }
        sender.send(request(batch)).await.map_err(|_| fail(ended()))?;
    }
}

/// How long a stream is kept without requests.
const IDLE: Duration = Duration::from_secs(60);
