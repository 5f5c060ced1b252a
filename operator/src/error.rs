use thiserror::Error;
use tidemark_pull::PdError;

use crate::plan::PlanError;

/// Why a pass over a feed was not finished; it is tried again.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server answered with an error, or not at all.
    #[error("{what}: {source}")]
    Api {
        /// What was asked of it.
        what: String,
        /// What it said.
        #[source]
        source: Box<kube::Error>,
    },
    /// A call was not answered in time.
    #[error("{what}: no answer within {seconds} s; it is tried again")]
    Late {
        /// The call.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The plan can't be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The certificates for the workers can't be made.
    #[error("certificates for the workers can't be made: {0}")]
    Certificates(#[from] rcgen::Error),
    /// PD gave no answer.
    #[error(transparent)]
    Pd(#[from] PdError),
    /// The API server and we don't agree on what an object looks like.
    #[error("{what}: {source}")]
    Shape {
        /// The object.
        what: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A value in a feed's spec or status can't be read.
    #[error("{0}")]
    Value(String),
    /// Another operator leads by now.
    #[error("this operator leads no more: another one goes on")]
    NotLeading,
}

impl Error {
    /// The API server's answer, if it gave one.
    pub fn answer(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether the API server answered with this HTTP code.
    pub fn is_code(&self, code: u16) -> bool {
        self.answer().is_some_and(|status| status.code == code)
    }
}
