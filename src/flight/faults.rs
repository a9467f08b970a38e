//! The faults that can be planted in the protocol of flights. Each is named at the step that it breaks.

use crate::sync::faults;

faults! {
    /// A step done wrong, named after what goes wrong.
    pub(crate) enum Fault {
        /// The end of a flight wakes nobody.
        WakesNobody,
        /// The end of a flight is told to the followers in one lane only.
        WakesOneLane,
        /// A state is set in one lane only.
        SetsOneLane,
        /// The leader looks for followers before it takes the lock, and publishes nothing if it saw none.
        #[cfg(sync_coalesce_shuttle)]
        LooksForFollowersTooSoon,
        /// A caller that has made its key leads, whoever leads by then.
        LeadsUnseen,
        /// A flight that ends takes others with it out of the filter.
        FilterLosesOthers,
        /// Each follower makes a slot of its own.
        #[cfg(sync_coalesce_shuttle)]
        MakesSlotAgain,
        /// The result is out while the flight can still be joined.
        #[cfg(sync_coalesce_shuttle)]
        PublishesBeforeRemoving,
        /// A flight whose closure panicked is left as it is.
        #[cfg(sync_coalesce_shuttle)]
        PanicEndsNothing,
        /// A batch waits for what others lead before it has run its own closure.
        #[cfg(sync_coalesce_shuttle)]
        WaitsWhileClaiming,
        /// A pool thread that is told to look whether it is to end does not look.
        EndsUnasked,
        /// A pool thread that is one too many goes on when its job is done.
        SpareStays,
        /// The first ticket of a flight comes after the flight is known to be detached.
        #[cfg(sync_coalesce_shuttle)]
        FirstTicketIsLate,
        /// A flight that waits for a thread and is thrown away is left as it is.
        DroppedJobEndsNothing,
        /// A flight that is cancelled before it waits for a thread is queued all the same.
        QueuesWhatWasCancelled,
        /// A closure that was cancelled while it waited for a thread is run all the same.
        RunsWhatWasCancelled,
        /// A pool thread that takes the lead of a detached flight is not written into the graph.
        DetachedUnnamed,
        /// A panic in a batch's closure ends one of its flights and leaves the others as they are.
        #[cfg(sync_coalesce_shuttle)]
        PanicReleasesOne,
        /// A lead that goes away unrun is left as it is.
        AbandonedLeadEndsNothing,
        /// The end of a flight removes what is there under its key, whosever it is.
        RemovesByKey,
        /// A forgotten flight loses its slot.
        ForgetLosesSlot,
        /// A flight that was cancelled is published again when its leader ends.
        #[cfg(sync_coalesce_shuttle)]
        PublishesTwice,
        /// A coalescer that was closed lets calls in.
        StaysOpen,
        /// Closing leaves those alone who follow a flight that was forgotten before.
        CloseMissesUnlinked,
        /// The end of a closure is told between the look and the sleep of one who drains.
        TellsDrainUnlocked,
        /// A lead that is offered is told to nobody.
        OffersToNobody,
        /// A follower that is awake takes the lead without a look whether it is still free.
        LeadsWithoutLooking,
        /// A lead that was vacant stays vacant when it is taken.
        LeadStaysVacant,
        /// A follower leads although its deadline has passed.
        LeadsLate,
        /// A follower that leaves while the lead is vacant tells no other.
        LeaverKeepsLead,
        /// The last follower leaves a flight behind that nobody leads.
        LastLeavesEntry,
        /// A cancelled flight whose lead was vacant is never taken away.
        CancelLeavesVacantFlight,
        /// The lead is offered though all followers are deferred.
        ElectsTheDeferred,
        /// An deferred follower that runs alone is not counted if its flight has ended meanwhile.
        RunsUncounted,
        /// The last follower that could lead leaves, and the deferred ones are not told.
        #[cfg(sync_coalesce_shuttle)]
        DeferredAreForgotten,
        /// A follower that ran out of patience runs alone although the lead is vacant.
        ImpatientShunsLead,
        /// A follower that ran out of time does not look for the result again under the shard's lock.
        LeavesBlindly,
        /// A flight that has ended still has a leader in the graph.
        LeaderOutlivesFlight,
        /// An elected thread is not written into the graph.
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
        /// A flight that is superseded loses its record.
        SupersededIsLost,
    }
}
