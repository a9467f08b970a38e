//! The faults that can be planted in the protocol of flights. Each is named at the step that it breaks.

use crate::sync::faults;

faults! {
    /// A step done wrong, named after what goes wrong.
    pub(crate) enum Fault {
        /// The end of a flight wakes nobody.
        WakesNobody,
        /// The end of a flight notifies the followers in one lane only.
        WakesOneLane,
        /// A state is set in one lane only.
        SetsOneLane,
        /// The leader looks for followers before it takes the lock, and publishes nothing if it saw none.
        #[cfg(sync_coalesce_shuttle)]
        LooksForFollowersTooSoon,
        /// A caller that has made its key leads, even if another one leads by then.
        LeadsUnseen,
        /// A flight that ends removes others from the filter too.
        FilterLosesOthers,
        /// Each follower makes a slot of its own.
        #[cfg(sync_coalesce_shuttle)]
        MakesSlotAgain,
        /// The result is published while the flight can still be joined.
        #[cfg(sync_coalesce_shuttle)]
        PublishesBeforeRemoving,
        /// A flight whose closure panicked is left as it is.
        #[cfg(sync_coalesce_shuttle)]
        PanicEndsNothing,
        /// A batch waits for what others lead before it has run its own closure.
        #[cfg(sync_coalesce_shuttle)]
        WaitsWhileClaiming,
        /// A pool thread ends at an empty message without checking whether it has to.
        EndsUnasked,
        /// A pool thread beyond the limit goes on when its job is done.
        SpareStays,
        /// The first ticket of a flight comes after the flight is known to be detached.
        #[cfg(sync_coalesce_shuttle)]
        FirstTicketIsLate,
        /// A queued flight that is dropped is left as it is.
        DroppedJobEndsNothing,
        /// A flight that is cancelled before it is queued is still queued.
        QueuesWhatWasCancelled,
        /// A closure that was cancelled while it was queued still runs.
        RunsWhatWasCancelled,
        /// A pool thread that takes the lead of a detached flight is not written into the leader cell.
        DetachedUnnamed,
        /// A panic in a batch's closure ends one of its flights and leaves the others as they are.
        #[cfg(sync_coalesce_shuttle)]
        PanicReleasesOne,
        /// A lead that goes away unrun is left as it is.
        AbandonedLeadEndsNothing,
        /// The end of a flight removes whichever flight is there under its key.
        RemovesByKey,
        /// A forgotten flight loses its slot.
        ForgetLosesSlot,
        /// A flight that was cancelled is published again when its leader ends.
        #[cfg(sync_coalesce_shuttle)]
        PublishesTwice,
        /// A coalescer that was closed lets calls in.
        StaysOpen,
        /// Closing leaves the followers of unlinked flights waiting.
        CloseMissesUnlinked,
        /// The end of a closure notifies between the check and the sleep of a caller that drains.
        TellsDrainUnlocked,
        /// An offered lead notifies nobody.
        OffersToNobody,
        /// A follower that is awake claims the lead without checking that it is still vacant.
        LeadsWithoutLooking,
        /// A vacant lead stays vacant when it is claimed.
        LeadStaysVacant,
        /// A follower leads although its deadline has passed.
        LeadsLate,
        /// A follower that leaves while the lead is vacant notifies no other.
        LeaverKeepsLead,
        /// The last follower leaves a flight behind that nobody leads.
        LastLeavesEntry,
        /// A cancelled flight whose lead was vacant is never removed.
        CancelLeavesVacantFlight,
        /// The lead is offered though all followers are deferred.
        ElectsTheDeferred,
        /// A deferred follower that may not wait, and so runs alone, is not counted.
        RunsUncounted,
        /// The last follower that could lead leaves, and the deferred ones get no result.
        #[cfg(sync_coalesce_shuttle)]
        DeferredAreForgotten,
        /// A follower that ran out of patience runs alone although the lead is vacant.
        ImpatientShunsLead,
        /// A follower whose deadline has passed does not check for a result again under the shard's lock.
        LeavesBlindly,
        /// A flight that has ended still has a leader in the graph.
        LeaderOutlivesFlight,
        /// A caller can be elected, and is in the wait-for graph, before its observers were notified that it joined.
        WaitsBeforeObservers,
        /// An elected thread is not written into the leader cell.
        ElectedUnnamed,
        /// A follower that leaves early stays in the graph.
        #[cfg(sync_coalesce_shuttle)]
        LeaverKeepsEdge,
        /// A follower that leaves early does not give back its place under the bound.
        LeaverKeepsPlace,
        /// A result begins to linger some time after its flight was removed.
        #[cfg(sync_coalesce_shuttle)]
        LingersLate,
        /// A caller joins a flight that is older than its mark.
        JoinsOlder,
        /// A caller supersedes a flight that began after its mark.
        SupersedesNewer,
        /// Leaders that wait elsewhere do not learn what became of their flights.
        WatchersAreNotNotified,
        /// A flight that is superseded loses its record.
        SupersededIsLost,
    }
}
