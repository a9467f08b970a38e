//! The faults that can be planted in what tells records in doubt from those in progress, and removes old ones.

use crate::sync::faults;

faults! {
    /// A step done wrong, named after what goes wrong.
    pub(super) enum Fault {
        /// A record whose thread has ended since it was listed is not read again.
        DoubtsWhatIsDone,
        /// A record is removed that is not the one that was judged.
        RemovesUnjudged,
        /// A record is removed while a thread runs its key.
        RemovesRunning,
    }
}
