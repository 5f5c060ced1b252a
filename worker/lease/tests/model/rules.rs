//! The parts of the chain of safety, each of which can be taken away.

/// Which rules hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The sink refuses epochs below the highest it was told of.
    pub(crate) fence: bool,
    /// The fence knows its writer: of two workers with the same epoch, it takes the first only.
    pub(crate) fence_names_writer: bool,
    /// The epoch is raised only from the value that the worker read.
    pub(crate) compare_and_swap: bool,
    /// The API server refuses a falling checkpoint.
    pub(crate) rising_checkpoint: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            fence: true,
            fence_names_writer: false,
            compare_and_swap: true,
            rising_checkpoint: true,
        }
    }
}

/// The Lease object. Deleted and made anew, it has another UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) uid: u8,
    pub(crate) version: u8,
    pub(crate) holder: Option<u8>,
}

/// The status object: the epoch, and how far the rows are surely in the sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Status {
    pub(crate) epoch: u8,
    pub(crate) checkpoint: u8,
    /// The checkpoint fell.
    pub(crate) fell: bool,
}

impl Status {
    pub(crate) fn raise(&mut self, rules: Rules, from: u8, to: u8) -> bool {
        // The API server refuses a falling epoch in any case.
        let allowed = (!rules.compare_and_swap || self.epoch == from) && to >= self.epoch;
        if allowed {
            self.epoch = to;
        }
        allowed
    }

    pub(crate) fn advance(&mut self, rules: Rules, epoch: u8, to: u8) -> bool {
        let allowed = self.epoch == epoch && (!rules.rising_checkpoint || to >= self.checkpoint);
        if allowed {
            self.fell |= to < self.checkpoint;
            self.checkpoint = to;
        }
        allowed
    }
}

/// The sink, with what it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Sink {
    /// The fence, and who raised it last.
    pub(crate) fence: u8,
    fenced_by: Option<u8>,
    /// Which rows it has, a bit each.
    pub(crate) rows: u8,
    /// The highest epoch it took a row of, and whose row that was.
    top: u8,
    top_writer: Option<u8>,
    /// It took a lower epoch after a higher.
    pub(crate) late: bool,
    /// It took rows of one epoch from two workers.
    pub(crate) shared: bool,
    /// It refused a row.
    pub(crate) refused: bool,
}

impl Sink {
    pub(crate) fn raise(&mut self, rules: Rules, by: u8, epoch: u8) -> bool {
        let same = !rules.fence_names_writer || self.fenced_by == Some(by);
        let allowed = epoch > self.fence || (epoch == self.fence && same);
        if allowed {
            self.fence = epoch;
            self.fenced_by = Some(by);
        }
        allowed
    }

    pub(crate) fn write(&mut self, rules: Rules, by: u8, epoch: u8, row: u8) -> bool {
        if rules.fence && epoch < self.fence {
            self.refused = true;
            return false;
        }
        self.late |= epoch < self.top;
        self.shared |= epoch == self.top && self.top_writer.is_some_and(|writer| writer != by);
        if epoch >= self.top {
            self.top = epoch;
            self.top_writer = Some(by);
        }
        self.rows |= 1 << row;
        true
    }
}
