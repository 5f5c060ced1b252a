use tidemark_proto::pdpb;
use tonic::{Code, Status};

/// Why PD gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum PdError {
    /// No endpoint was given.
    #[error("no PD endpoint is given: set at least one, such as http://basic-pd:2379")]
    NoEndpoint,
    /// None of the endpoints answers.
    #[error("no PD endpoint of {endpoints} answers; the last error was: {last}")]
    Unreachable {
        /// The endpoints tried, separated by commas.
        endpoints: String,
        /// What the last one failed with.
        last: String,
    },
    /// The endpoints belong to another cluster.
    #[error("PD belongs to cluster {actual}, not to {expected}: correct the endpoints or the cluster id")]
    WrongCluster {
        /// The id that was asked for.
        expected: String,
        /// The id of the cluster that answers.
        actual: String,
    },
    /// The address or the TLS material can't be used.
    #[error("PD endpoint {endpoint} can't be used: correct the address or the TLS secret")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: tonic::transport::Error,
    },
    /// The call was not answered in time.
    #[error("PD did not answer {what} in time")]
    Deadline {
        /// The call.
        what: &'static str,
    },
    /// PD has no leader at the moment.
    #[error("PD has no leader at the moment: {message}")]
    NoLeader {
        /// PD's own words.
        message: String,
    },
    /// The cluster has no store yet.
    #[error("the cluster is not bootstrapped: start a TiKV store")]
    NotBootstrapped,
    /// PD answered with an error of its own.
    #[error("PD refuses {what}: {message}")]
    Refused {
        /// The call.
        what: &'static str,
        /// PD's own words.
        message: String,
    },
    /// PD doesn't know the call.
    #[error("PD doesn't know {what}: it is too old")]
    Unimplemented {
        /// The call.
        what: &'static str,
    },
    /// The connection or the server failed.
    #[error("PD at {endpoint} failed {what}: {message}")]
    Transport {
        /// The call.
        what: &'static str,
        /// The endpoint called.
        endpoint: String,
        /// The failure.
        message: String,
    },
    /// The store is not known, is gone, or holds no TiKV data.
    #[error("store {id} can't be read from: {reason}")]
    Store {
        /// The store.
        id: u64,
        /// Why.
        reason: &'static str,
    },
}

impl PdError {
    /// Whether another try, perhaps with another leader, can succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Deadline { .. }
                | Self::NoLeader { .. }
                | Self::NotBootstrapped
                | Self::Transport { .. }
        )
    }
}

/// The error of a gRPC status.
pub(super) fn of_status(what: &'static str, endpoint: &str, status: &Status) -> PdError {
    let message = status.message();
    match status.code() {
        Code::FailedPrecondition if message.contains("mismatch cluster id") => wrong_cluster(message),
        Code::Unimplemented => PdError::Unimplemented { what },
        Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated => PdError::Refused {
            what,
            message: message.to_owned(),
        },
        _ if names_leader_change(message) => PdError::NoLeader {
            message: message.to_owned(),
        },
        code => PdError::Transport {
            what,
            endpoint: endpoint.to_owned(),
            message: format!("{code}: {}", chain(status)),
        },
    }
}

/// The status' message with the causes below it: "transport error" alone tells nothing.
pub(crate) fn chain(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// The error that an answer's header carries, if any.
pub(super) fn of_header(what: &'static str, header: Option<&pdpb::ResponseHeader>) -> Option<PdError> {
    let error = header?.error.as_ref()?;
    match error.r#type() {
        pdpb::ErrorType::Ok => None,
        pdpb::ErrorType::NotBootstrapped => Some(PdError::NotBootstrapped),
        _ if names_leader_change(&error.message) => Some(PdError::NoLeader {
            message: error.message.clone(),
        }),
        kind => Some(PdError::Refused {
            what,
            message: format!("{}: {}", kind.as_str_name(), error.message),
        }),
    }
}

/// PD words a wrong cluster id as "mismatch cluster id, need X but got Y".
fn wrong_cluster(message: &str) -> PdError {
    let mut numbers = message
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty());
    let (need, got) = (numbers.next(), numbers.next());
    PdError::WrongCluster {
        expected: got.unwrap_or("unknown").to_owned(),
        actual: need.unwrap_or("unknown").to_owned(),
    }
}

/// The texts by which PD's own clients notice that the leader moved.
fn names_leader_change(message: &str) -> bool {
    ["not leader", "no leader", "is not served", "not primary"]
        .iter()
        .any(|text| message.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_cluster_id_is_told_with_both_ids() {
        let status = Status::failed_precondition("mismatch cluster id, need 11 but got 22");
        let error = of_status("Tso", "pd", &status);
        assert!(!error.is_retryable());
        assert_eq!(
            error.to_string(),
            "PD belongs to cluster 11, not to 22: correct the endpoints or the cluster id"
        );
    }

    #[test]
    fn a_lost_leadership_is_retried() {
        let error = of_status("GetStore", "pd", &Status::unavailable("rpc error: not leader"));
        assert!(matches!(error, PdError::NoLeader { .. }) && error.is_retryable());
    }
}
