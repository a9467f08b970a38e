//! [`Filter`]: which members of a request a rule leaves out, while the request is written.
//!
//! A pointer has one step per level, so all that must be known at a level is which pointers have matched so far: a set
//! of at most 64 bits. Where it is empty, no rule has anything to say.

use super::string;

/// The set of pointers that have matched all the way to some place in a request and go on from there.
pub(crate) type Alive = u64;

/// How many pointers a rule may have.
pub(crate) const MOST: usize = Alive::BITS as usize;

/// Whether the member that a pointer names is left out, or is kept where all others are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Drop,
    Keep,
}

/// The pointers of one rule, as lists of steps.
#[derive(Clone, Default)]
pub(crate) struct Filter {
    pointers: Vec<Box<[Step]>>,
    /// Those of [`Verdict::Keep`].
    keep: Alive,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The member of this name, as it stands between the quotes in the canonical text.
    Member(Box<[u8]>),
    /// Any one member or element.
    Any,
}

impl Step {
    pub(crate) fn member(name: &str) -> Self {
        let mut quoted = Vec::new();
        string::write(&mut quoted, name);
        Self::Member(quoted[1..quoted.len() - 1].into())
    }
}

impl Filter {
    /// Adds a pointer; false if there are [`MOST`] already.
    pub(crate) fn add(&mut self, steps: Box<[Step]>, verdict: Verdict) -> bool {
        let has_room = self.pointers.len() < MOST;
        if has_room {
            self.keep |= u64::from(verdict == Verdict::Keep) << self.pointers.len();
            self.pointers.push(steps);
        }
        has_room
    }

    /// The pointers alive at the root of a request: all of them.
    pub(crate) fn all(&self) -> Alive {
        (0..self.pointers.len()).fold(0, |all, index| all | 1 << index)
    }

    /// The pointers alive inside a member of an object in which `alive` is alive; `None` if the member is left out.
    ///
    /// `level` counts the arrays and objects around that object, and `name` is as in the canonical text.
    pub(crate) fn member(&self, alive: Alive, level: usize, name: &[u8]) -> Option<Alive> {
        let (mut inside, mut ended) = (0, 0);
        for index in indices(alive) {
            let steps = &self.pointers[index];
            match steps.get(level) {
                Some(Step::Member(wanted)) if **wanted != *name => {}
                _ if level + 1 == steps.len() => ended |= 1 << index,
                _ => inside |= 1 << index,
            }
        }
        if ended & !self.keep != 0 {
            return None;
        }
        if alive & self.keep == 0 {
            return Some(inside);
        }
        match (ended & self.keep, inside & self.keep) {
            (0, 0) => None,
            (0, _) => Some(inside),
            // The whole member is kept, whatever other pointers keep of it.
            _ => Some(inside & !self.keep),
        }
    }

    /// The pointers alive inside an element of an array in which `alive` is alive. Elements are never left out, so one
    /// that no pointer leads into is kept whole.
    pub(crate) fn element(&self, alive: Alive, level: usize) -> Alive {
        let any = |index: &usize| self.pointers[*index].get(level) == Some(&Step::Any);
        indices(alive).filter(any).fold(0, |inside, index| inside | 1 << index)
    }
}

fn indices(mut set: Alive) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let index = set.trailing_zeros() as usize;
        set &= set.wrapping_sub(1);
        (index < MOST).then_some(index)
    })
}

#[cfg(test)]
mod tests {
    use super::indices;

    #[test]
    fn a_set_is_listed_from_its_lowest_bit_to_its_highest() {
        assert_eq!(indices(0).count(), 0);
        assert_eq!(indices(1 << 63 | 0b101).collect::<Vec<_>>(), [0, 2, 63]);
        assert!(indices(u64::MAX).eq(0..64));
    }
}
