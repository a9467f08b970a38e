//! The faults that can be planted in what keeps older values from coming over newer ones.

use crate::sync::faults;

faults! {
    /// A step done wrong, named after what goes wrong.
    pub(crate) enum Fault {
        /// A leader looks whether it may fill, and fills when the lock is released.
        #[cfg(sync_coalesce_shuttle)]
        FillsAfterLooking,
        /// A leader fills, whatever was removed or inserted since it began.
        FillsRevoked,
        /// A leader that has filled leaves those that began earlier their permits.
        OlderFillsLater,
        /// A leader whose flight is not current leaves the older value where it is.
        OlderStays,
        /// A caller refreshes a stale value although another one does.
        ClaimsTwice,
        /// Who has refreshed a value, or failed to, still counts.
        ClaimStays,
    }
}
