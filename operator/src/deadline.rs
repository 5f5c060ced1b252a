//! No call to anyone goes without a bound: one stuck server must not hold up other feeds.

use std::time::Duration;

use crate::Error;

/// How long a call to the API server may take, with the retries of the client.
pub(crate) const CALL: Duration = Duration::from_secs(15);

/// Waits for a call to the API server, but not for ever.
pub(crate) async fn bounded<T>(
    what: impl Into<String>,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(CALL, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(Error::Api {
            what: what.into(),
            source: Box::new(source),
        }),
        Err(_) => Err(Error::Late {
            what: what.into(),
            seconds: CALL.as_secs(),
        }),
    }
}
