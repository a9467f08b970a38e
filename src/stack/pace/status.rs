//! What a pacer tells of itself.

use serde::Serialize;

/// The state of a [`Pacer`](super::Pacer).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PacerStatus {
    /// The current rate in calls per second; `None` if there is no limit.
    pub rate: Option<f64>,
    /// The number of callers that wait for a permit.
    pub waiting: usize,
    /// The number of urgent callers among them.
    pub waiting_urgent: usize,
    /// The number of permits that are held.
    pub running: u32,
}

/// The state of one limit of a [`Pacer`](super::Pacer).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LimitStatus {
    /// The name of the limit.
    pub name: String,
    /// The current rate in units per second.
    pub rate: f64,
    /// The whole units that could be taken at once, before any [reported](super::Pacer::set_remaining) remainder; below 0 while
    /// the limit is in debt.
    pub available: i64,
}
