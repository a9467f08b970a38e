//! The faults that can be planted in a pacer.

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
        /// Whoever gives back what was not used notifies nobody.
        SettledUnheard,
        /// Whoever changes a rate or what remains notifies nobody.
        ChangeIsMissed,
        /// A caller that one limit refuses is charged in the others.
        ChargesInPart,
        /// Ordinary callers go before urgent ones.
        UrgentIsLast,
        /// An ordinary caller waits as long as there are urgent ones.
        NoTurnForOrdinary,
        /// Each refusal cuts the rate, also those of calls that went out together.
        CutsForEach,
        /// A permit for an attempt that does not begin stays charged.
        UnusedIsCharged,
        /// A stack waits for its pacers in the order in which it was given them.
        PacersInAnyOrder,
    }
}
