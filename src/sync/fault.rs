//! Faults that the model checks plant to see that they would notice.

use super::{AtomicU64, Ordering};

/// A step of the protocol done wrong, named after what goes wrong. Each is asked for at the step that it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The end of a flight wakes nobody.
    WakesNobody,
    /// The end of a flight is told to the followers in one lane only.
    WakesOneLane,
    /// A state is set in one lane only.
    SetsOneLane,
    /// The leader looks for followers before it takes the lock, and publishes nothing if it saw none.
    LooksForFollowersTooSoon,
    /// A caller that has made its key leads, whoever leads by then.
    LeadsUnseen,
    /// A flight that ends takes others with it out of the filter.
    FilterLosesOthers,
    /// Each follower makes a slot of its own.
    MakesSlotAgain,
    /// The result is out while the flight can still be joined.
    #[cfg(all(test, sync_coalesce_shuttle))]
    PublishesBeforeRemoving,
    /// A flight whose closure panicked is left as it is.
    PanicEndsNothing,
    /// A batch waits for what others lead before it has run its own closure.
    WaitsWhileClaiming,
    /// A pool thread that blocks keeps its place, so that no spare takes it.
    BlockedKeepsPlace,
    /// The system has no thread to give to the pool, now and then: no fault of ours, and so it must break nothing.
    #[cfg(all(test, sync_coalesce_shuttle))]
    NoThread,
    /// A pool thread that is told to look whether it is to end does not look.
    EndsUnasked,
    /// A pool thread that is one too many goes on when its job is done.
    SpareStays,
    /// The first ticket of a flight comes after the flight is known to be detached.
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
    PanicReleasesOne,
    /// A lead that goes away unrun is left as it is.
    AbandonedLeadEndsNothing,
    /// The end of a flight removes what is there under its key, whosever it is.
    RemovesByKey,
    /// A forgotten flight loses its slot.
    ForgetLosesSlot,
    /// A flight that was cancelled is published again when its leader ends.
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
    DeferredAreForgotten,
    /// A follower that ran out of patience runs alone although the lead is vacant.
    ImpatientShunsLead,
    /// A follower that ran out of time does not look for the result again under the shard's lock.
    LeavesBlindly,
    /// The graph of waits is unlocked between looking for a cycle and entering the wait.
    ChecksApart,
    /// A flight that has ended still has a leader in the graph.
    LeaderOutlivesFlight,
    /// An elected thread is not written into the graph.
    ElectedUnnamed,
    /// A wait that is over stays in the graph.
    EdgeStays,
    /// A follower that leaves early stays in the graph.
    LeaverKeepsEdge,
    /// The end of a wait that was made before another one, by an observer, ends that too in the graph.
    InnerWaitHidesOuter,
    /// A caller enters the graph of waits before it is known whether it may follow.
    WaitsWithoutPlace,
    /// The bound over all flights is looked at and taken in two steps.
    CountsApart,
    /// A follower that leaves early does not give back its place under the bound.
    LeaverKeepsPlace,
    /// A result begins to linger some time after its flight was removed.
    LingersLate,
    /// A caller joins a flight that is older than its mark.
    JoinsOlder,
    /// A caller supersedes a flight that began after its mark.
    SupersedesNewer,
    /// A flight that is superseded loses its record.
    SupersededIsLost,
    /// A chunk that was pulled is told to nobody.
    ChunkWakesNobody,
    /// A reader looks, and then sleeps, with the lock released in between.
    ReaderSleepsBlindly,
    /// A pull that is over still has a puller in the graph of waits.
    PullOutlivesStep,
    /// A puller does not see that its stream was cut off during the pull.
    PullerMissesCancel,
    /// A panic of the source leaves the stream as it is.
    SourcePanicEndsNothing,
    /// A reader that leaves looks whether it is the last one without the table's lock.
    LastReaderLooksFirst,
    /// A reader that leaves at its deadline is not taken off.
    LateReaderStays,
    /// A log sheds its first chunk while the stream can still be joined.
    RetiresLate,
    /// Who goes through a pacer does not tell the next in line.
    #[cfg(feature = "pace")]
    PacedTellsNobody,
    /// Who leaves a pacer's line at its deadline does not tell the next.
    #[cfg(feature = "pace")]
    LineLeaverTellsNobody,
    /// A place at a pacer that becomes free is told to nobody.
    #[cfg(feature = "pace")]
    PlaceToldToNobody,
}

/// The step of [`Fault::CountsApart`]: it looks, and then takes.
pub(crate) fn take_apart(taken: &AtomicU64, limit: u64) -> bool {
    let before = taken.load(Ordering::Relaxed);
    taken.store((before + 1).min(limit), Ordering::Relaxed);
    before < limit
}

/// Whether this fault is planted. Never but in a model check, so that nothing of it is left in a build.
#[cfg(not(all(test, sync_coalesce_shuttle)))]
#[inline]
pub(crate) const fn planted(_: Fault) -> bool {
    false
}

#[cfg(all(test, sync_coalesce_shuttle))]
pub(crate) use super::checked::planted;
