use std::fmt;

/// Why a feed needs a person: the reason of its condition `Stalled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StallReason {
    /// The spec can't work.
    InvalidSpec,
    /// A Secret that the spec names, or a key in it, is missing.
    SecretMissing,
    /// Another feed writes to the same place.
    StorageConflict,
    /// An object of someone else has a name that the feed needs.
    NameConflict,
    /// The API server refuses an object of the feed: a quota, a policy, or rights that the operator lacks.
    ApplyRefused,
    /// The stream stands still until something outside is mended.
    Halted,
    /// History that the paused feed needs is gone.
    SafepointLost,
    /// The feed's deletion can't be finished.
    CleanupFailed,
}

impl StallReason {
    /// Every reason.
    pub(crate) const ALL: [Self; 8] = [
        Self::InvalidSpec,
        Self::SecretMissing,
        Self::StorageConflict,
        Self::NameConflict,
        Self::ApplyRefused,
        Self::Halted,
        Self::SafepointLost,
        Self::CleanupFailed,
    ];

    /// The reason that a condition names.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.to_string() == name)
    }
}

impl fmt::Display for StallReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a person has to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The kind of trouble.
    pub reason: StallReason,
    /// What is wrong and how to mend it, a line each.
    pub message: String,
}

impl Stall {
    pub(crate) fn new(reason: StallReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    pub(crate) fn lines(reason: StallReason, lines: impl IntoIterator<Item = impl fmt::Display>) -> Self {
        let lines: Vec<_> = lines.into_iter().map(|line| line.to_string()).collect();
        Self::new(reason, lines.join("\n"))
    }
}
