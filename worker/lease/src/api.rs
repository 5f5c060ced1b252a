//! Requests to the API server, and what their answers mean.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::PostParams;

use crate::{Action, Answer};

const FIELD_MANAGER: &str = "tidemark-lease";

/// Sends the request that `action` asks for.
///
/// The timeout spans kube's own retries, so that they can't hold a renewal back beyond the deadline.
pub(crate) async fn send(api: &Api<Lease>, name: &str, action: Action, timeout: Duration) -> Answer {
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let call = async {
        match action {
            Action::Create(lease) => api.create(&params, &lease).await,
            Action::Update(lease) => api.replace(name, &params, &lease).await,
            Action::Read | Action::Wait(_) | Action::Done => api.get(name).await,
        }
    };
    match tokio::time::timeout(timeout, call).await {
        Ok(result) => meaning(result),
        Err(_) => Answer::Unanswered(format!("no answer within {timeout:?}")),
    }
}

fn meaning(result: Result<Lease, kube::Error>) -> Answer {
    match result {
        Ok(mut lease) => {
            // It would be sent back with each renewal, and is most of it; the API server keeps its own.
            lease.metadata.managed_fields = None;
            Answer::Lease(Box::new(lease))
        }
        Err(kube::Error::Api(status)) => match status.code {
            404 => Answer::Missing,
            // A stale resourceVersion, or a Lease that someone else created first.
            409 => Answer::Conflict,
            429 | 500.. => Answer::Unanswered(status.message),
            _ => Answer::Refused(status.message),
        },
        Err(error) => Answer::Unanswered(error.to_string()),
    }
}
