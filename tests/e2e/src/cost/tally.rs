use std::collections::BTreeMap;

use crate::OPERATOR;
use crate::audit::Call;

/// Who calls the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// All workers together.
    Workers,
    /// The operator.
    Operator,
}

impl Who {
    fn of(call: &Call) -> Self {
        if call.user == OPERATOR {
            Self::Operator
        } else {
            Self::Workers
        }
    }

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Workers => "worker",
            Self::Operator => "operator",
        }
    }
}

/// Calls of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub calls: usize,
    /// Bytes of the requests' bodies.
    pub sent: usize,
    /// Bytes of the answers' bodies.
    pub got: usize,
}

impl Sum {
    fn add(&mut self, call: &Call) {
        self.calls += 1;
        self.sent += call.sent;
        self.got += call.got;
    }
}

/// Calls of some time, by who made them and what they were.
#[derive(Clone, Debug)]
pub struct Tally {
    kinds: BTreeMap<(Who, String), Sum>,
    writes: BTreeMap<Who, Sum>,
    reads: BTreeMap<Who, Sum>,
    seconds: f64,
}

impl Tally {
    /// Counts the calls that were answered from `from_ms` to `to_ms`.
    pub fn of(calls: &[Call], from_ms: i64, to_ms: i64) -> Self {
        let mut tally = Self {
            kinds: BTreeMap::new(),
            writes: BTreeMap::new(),
            reads: BTreeMap::new(),
            seconds: (to_ms - from_ms) as f64 / 1000.0,
        };
        let counted = calls.iter().filter(|call| (from_ms..to_ms).contains(&call.at_ms));
        for call in counted {
            let who = Who::of(call);
            let resource = call.resource.rsplit_once('/').map_or("", |(_, last)| last);
            let kind = match call.resource.matches('/').count() {
                // `group/resource/subresource`
                2 => call.resource.split_once('/').map_or("", |(_, rest)| rest),
                _ => resource,
            };
            let kind = (who, format!("{} {kind}", call.verb));
            tally.kinds.entry(kind).or_default().add(call);
            let side = if call.writes() {
                &mut tally.writes
            } else {
                &mut tally.reads
            };
            side.entry(who).or_default().add(call);
        }
        tally
    }

    /// All kinds of calls that were counted.
    pub fn kinds(&self) -> impl Iterator<Item = &(Who, String)> {
        self.kinds.keys()
    }

    /// Calls of a kind.
    pub fn kind(&self, kind: &(Who, String)) -> Sum {
        self.kinds.get(kind).copied().unwrap_or_default()
    }

    /// What someone wrote.
    pub fn writes(&self, who: Who) -> Sum {
        self.writes.get(&who).copied().unwrap_or_default()
    }

    /// What someone read; a watch counts once it ends.
    pub fn reads(&self, who: Who) -> Sum {
        self.reads.get(&who).copied().unwrap_or_default()
    }

    /// A number of the whole time, for a second and a feed.
    pub fn rate(&self, count: usize, feeds: usize) -> f64 {
        count as f64 / self.seconds / feeds as f64
    }
}
