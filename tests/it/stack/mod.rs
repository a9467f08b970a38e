//! The layers around a paid call, each alone and all together.

#[cfg(feature = "budget")]
mod budget;
#[cfg(feature = "cache")]
mod cache;
#[cfg(all(feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry"))]
mod layers;
#[cfg(feature = "ledger")]
mod ledger;
#[cfg(feature = "pace")]
mod pace;
#[cfg(feature = "retry")]
mod retry;

/// Handles are for all threads.
#[cfg(all(feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry"))]
#[test]
fn the_layers_can_be_shared() {
    use sync_coalesce::stack::budget::{Budget, Reservation};
    use sync_coalesce::stack::cache::Cache;
    use sync_coalesce::stack::ledger::Ledger;
    use sync_coalesce::stack::pace::{Pacer, Permit};
    use sync_coalesce::stack::retry::Retry;
    use sync_coalesce::stack::{ManualClock, Stack};

    fn is_shared<T: Send + Sync>() {}

    is_shared::<(Budget, Reservation, Ledger, ManualClock, Pacer, Permit, Retry<String>)>();
    is_shared::<(Cache<u32, String>, Stack<u32, String, String>)>();
}
