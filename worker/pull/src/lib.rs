//! Reads committed changes of key spans from TiKV: PD client, regions, subscriptions, matching, locks.
