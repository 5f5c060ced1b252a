use std::time::Duration;

/// What a workload writes.
#[derive(Clone, Debug)]
pub struct WorkloadConfig {
    /// Seeds every choice; the order of concurrent writers is not determined.
    pub seed: u64,
    /// Databases to create; the bank is in the first one.
    pub databases: Vec<String>,
    /// Accounts of the bank; 0 for no bank.
    pub bank_accounts: usize,
    /// What each account holds at first.
    pub initial_balance: i64,
    /// Whether every database gets one table of each shape.
    pub mixed_tables: bool,
    /// Whether tables without a usable key are among them; streams skip such tables by default.
    pub keyless_tables: bool,
    /// Further tables like `mixed_int_key`, to have many.
    pub extra_tables: usize,
    /// Rows that each mixed table has before the writers start.
    pub initial_rows: usize,
    /// Rows that a mixed table grows to; then deletes balance inserts.
    pub max_rows: usize,
    /// Concurrent writers.
    pub writers: usize,
    /// Rows written per second in all; `None` for as many as the cluster takes.
    pub rows_per_second: Option<u64>,
    /// Rows of a mixed transaction, at most.
    pub rows_per_transaction: usize,
    /// How transactions run and end.
    pub mix: TransactionMix,
    /// How large values are.
    pub sizes: ValueSizes,
}

impl Default for WorkloadConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            databases: vec!["shop".into()],
            bank_accounts: 100,
            initial_balance: 1000,
            mixed_tables: true,
            keyless_tables: false,
            extra_tables: 0,
            initial_rows: 20,
            max_rows: 2000,
            writers: 4,
            rows_per_second: None,
            rows_per_transaction: 8,
            mix: TransactionMix::default(),
            sizes: ValueSizes::default(),
        }
    }
}

/// Shares of transactions, in thousandths of all unless said otherwise.
#[derive(Clone, Debug)]
pub struct TransactionMix {
    /// Bank transfers, the rest being mixed changes.
    pub transfers: u32,
    /// Of all: those that commit asynchronously.
    pub async_commit: u32,
    /// Of all: those that try one phase. The rest commits in two.
    pub one_phase: u32,
    /// Of all: those that lock their records first.
    pub pessimistic: u32,
    /// Those that are prewritten and rolled back.
    pub rolled_back: u32,
    /// Those that lose to another transaction on the same row.
    pub conflicting: u32,
    /// Those whose client dies on the way and leaves locks behind.
    pub abandoned: u32,
    /// Time to live of the locks left behind.
    pub abandoned_ttl: Duration,
}

impl Default for TransactionMix {
    fn default() -> Self {
        Self {
            transfers: 400,
            async_commit: 300,
            one_phase: 200,
            pessimistic: 300,
            rolled_back: 20,
            conflicting: 10,
            abandoned: 0,
            abandoned_ttl: Duration::from_secs(1),
        }
    }
}

/// How large strings are.
#[derive(Clone, Debug)]
pub struct ValueSizes {
    /// Characters or bytes of a string, at most, as a rule.
    pub usual: usize,
    /// Thousandths of TEXT and BLOB values that are large.
    pub large_share: u32,
    /// Bytes of a large value, at most.
    pub large: usize,
}

impl Default for ValueSizes {
    fn default() -> Self {
        Self {
            usual: 40,
            large_share: 5,
            large: 64 << 10,
        }
    }
}
