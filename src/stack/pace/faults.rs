//! The faults that can be planted in the line of a pacer.

use crate::sync::faults;

faults! {
    /// A step done wrong, named after what goes wrong.
    pub(crate) enum Fault {
        /// A caller that is let through does not notify the next in line.
        PacedTellsNobody,
        /// A caller that leaves the line at its deadline does not notify the next.
        LineLeaverTellsNobody,
        /// A permit that is dropped notifies nobody.
        PermitDropIsMissed,
    }
}
