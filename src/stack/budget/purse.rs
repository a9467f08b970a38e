//! One side of a budget: its tokens, or its billionths of a dollar.

pub(super) struct Purse {
    /// The allowance of each period; `None` without a cap.
    cap: Option<u64>,
    /// The maximum that a period inherits from the one before it.
    carry: u64,
    /// The cap, and what this period inherited.
    allowance: u64,
    pub(super) used: u64,
    pub(super) reserved: u64,
}

impl Purse {
    pub(super) fn new(cap: Option<u64>, carry: u64) -> Self {
        Self { cap, carry, allowance: cap.unwrap_or(u64::MAX), used: 0, reserved: 0 }
    }

    pub(super) fn has_room_for(&self, amount: u64) -> bool {
        self.rest() >= amount
    }

    /// `None` if there is no cap.
    pub(super) fn left(&self) -> Option<u64> {
        self.cap.map(|_| self.rest())
    }

    fn rest(&self) -> u64 {
        self.allowance.saturating_sub(self.used).saturating_sub(self.reserved)
    }

    pub(super) fn spend(&mut self, amount: u64) {
        self.used = self.used.saturating_add(amount);
    }

    /// Accounts for `passed` periods that have ended, all but the first of them unused.
    pub(super) fn begin_period(&mut self, passed: u64) {
        if let Some(cap) = self.cap {
            let most = cap.saturating_add(self.carry);
            self.allowance = self.rest().saturating_add(cap.saturating_mul(passed)).min(most);
        }
        self.used = 0;
    }

    pub(super) fn reset(&mut self) {
        self.allowance = self.cap.unwrap_or(u64::MAX);
        self.used = 0;
    }
}
