//! The faults that can be planted in the line of a pacer.

use crate::sync::faults;

faults! {
    /// A step done wrong, named after what goes wrong.
    pub(crate) enum Fault {
        /// Who goes through a pacer does not tell the next in line.
        PacedTellsNobody,
        /// Who leaves a pacer's line at its deadline does not tell the next.
        LineLeaverTellsNobody,
        /// A place at a pacer that becomes free is told to nobody.
        PlaceToldToNobody,
    }
}
