//! What the admin server tells of a feed.

use tidemark_process::admin::Report;

use crate::metrics::Metrics;

impl Report for Metrics {
    fn metrics(&self) -> String {
        self.text()
    }

    fn ready(&self) -> Result<(), String> {
        if self.is_ready() {
            Ok(())
        } else {
            Err("not streaming".into())
        }
    }
}
