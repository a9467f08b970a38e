//! The layers around a paid call, each alone.

#[cfg(feature = "budget")]
mod budget;
#[cfg(feature = "ledger")]
mod ledger;
#[cfg(feature = "pace")]
mod pace;
#[cfg(feature = "retry")]
mod retry;

/// Handles are for all threads.
#[cfg(all(feature = "budget", feature = "ledger", feature = "pace", feature = "retry"))]
#[test]
fn the_layers_can_be_shared() {
    use sync_coalesce::stack::{Budget, Ledger, ManualClock, Pacer, Permit, Reservation, Retry};

    fn is_shared<T: Send + Sync>() {}

    is_shared::<(Budget, Reservation, Ledger, ManualClock, Pacer, Permit, Retry<String>)>();
}
