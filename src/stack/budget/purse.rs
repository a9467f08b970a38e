//! One side of a budget: its tokens, or its billionths of a dollar.

pub(super) struct Purse {
    /// The allowance of each period; `None` without a cap.
    cap: Option<u64>,
    /// The maximum that a period inherits from the one before it.
    carry: u64,
    /// What this period inherited.
    pub(super) inherited: u64,
    pub(super) used: u64,
    pub(super) reserved: u64,
}

impl Purse {
    pub(super) fn new(cap: Option<u64>, carry: u64) -> Self {
        Self { cap, carry, inherited: 0, used: 0, reserved: 0 }
    }

    /// With the figures of an earlier process, as far as these settings allow.
    pub(super) fn restore(&mut self, used: u64, inherited: u64) {
        self.used = used;
        self.inherited = inherited.min(self.carry);
    }

    pub(super) fn has_room_for(&self, amount: u64) -> bool {
        self.rest() >= amount
    }

    /// `None` if there is no cap.
    pub(super) fn left(&self) -> Option<u64> {
        self.cap.map(|_| self.rest())
    }

    fn rest(&self) -> u64 {
        self.unspent().saturating_sub(self.reserved)
    }

    fn unspent(&self) -> u64 {
        self.cap.unwrap_or(u64::MAX).saturating_add(self.inherited).saturating_sub(self.used)
    }

    pub(super) fn spend(&mut self, amount: u64) {
        self.used = self.used.saturating_add(amount);
    }

    /// Accounts for `passed` periods, at least one, that have ended, all but the first of them unused.
    ///
    /// What is reserved is left out: it moves on as a whole, and is spent in the period in which it is committed. If it
    /// were taken from what is carried, it would be taken once for each time that somebody looks.
    pub(super) fn begin_period(&mut self, passed: u64) {
        if let Some(cap) = self.cap {
            // Each unused period passes on what it inherited and its cap, up to `carry`.
            self.inherited = self.unspent().saturating_add(cap.saturating_mul(passed - 1)).min(self.carry);
        }
        self.used = 0;
    }

    pub(super) fn reset(&mut self) {
        self.inherited = 0;
        self.used = 0;
    }
}
