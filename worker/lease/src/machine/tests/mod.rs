//! The machine step by step, and in a world of lost and late messages.

mod acquire;
mod fate;
mod lose;
mod random;
mod setup;
mod world;
