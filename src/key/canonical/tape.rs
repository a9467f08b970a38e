//! [`Tape`]: the buffers that a key is made in. Each thread keeps them from one key to the next.

use std::sync::Arc;

use super::filter::{Alive, Filter};
use super::order::Member;
use super::string;
use crate::key::error::{KeyError, KeyErrorKind};
use crate::sync::spare_per_thread;

/// How many arrays and objects may be open at once: as many as `serde_json` reads. The request itself is at level 0.
pub(super) const DEEPEST: u8 = 127;

/// Larger buffers, in bytes, are not kept: with hundreds of threads, one large buffer each would amount to a leak.
const KEPT: usize = 256 * 1024;

spare_per_thread! {
    /// The tape of this thread's last key.
    Spare: Tape
}

/// The canonical text written so far, and what is needed to go on.
#[derive(Default)]
pub(crate) struct Tape {
    pub(super) text: Vec<u8>,
    /// The members of all open objects, those of the innermost object last.
    pub(super) members: Vec<Member>,
    /// Scratch space for sorting an object's members.
    pub(super) moved: Vec<u8>,
    /// Scratch space for a value's `Display`.
    pub(super) shown: String,
    /// What a rule leaves out.
    filter: Option<Arc<Filter>>,
    /// Which of its pointers lead into the next value; 0 where no rule applies.
    pub(super) alive: Alive,
    /// How many arrays and objects are open.
    depth: u8,
    /// Whether a `Serialize` was given an error, which it may have ignored. What was written since then may be
    /// inconsistent.
    broken: bool,
}

impl Tape {
    /// What `finish` makes of the text that consists of `prefix` and what `write` appends, without the members that
    /// `filter` leaves out.
    pub(crate) fn with<T>(
        prefix: &str,
        filter: Option<&Arc<Filter>>,
        write: impl FnOnce(&mut Self) -> Result<(), KeyError>,
        finish: impl FnOnce(&mut Vec<u8>) -> T,
    ) -> Result<T, KeyError> {
        let mut tape = Self::take();
        tape.text.extend_from_slice(prefix.as_bytes());
        if let Some(filter) = filter {
            tape.leave_out(filter);
        }
        // Returns Err: the tape is emptied and kept. Panics: the tape is lost, and the next key starts a new one.
        // Re-enters: that key finds no spare tape, starts one, and leaves it as the spare, which ours then replaces.
        let outcome = write(&mut tape).and_then(|()| tape.sound());
        let outcome = outcome.map(|()| finish(&mut tape.text));
        tape.put_back();
        outcome
    }

    /// An empty tape: this thread's spare one, or a new one if a key is being made further up the stack.
    fn take() -> Self {
        Spare::take().unwrap_or_default()
    }

    /// Empties the tape and keeps it for this thread's next key.
    fn put_back(mut self) {
        let members = self.members.capacity() * size_of::<Member>();
        let size = self.text.capacity() + self.moved.capacity() + self.shown.capacity() + members;
        if size <= KEPT {
            self.text.clear();
            self.members.clear();
            self.filter = None;
            self.alive = 0;
            self.depth = 0;
            self.broken = false;
            Spare::put(self);
        }
    }

    /// Applies the filter to the request that is written next.
    fn leave_out(&mut self, filter: &Arc<Filter>) {
        self.alive = filter.all();
        // A rule without pointers does not touch the reference count, which threads would contend for.
        self.filter = (self.alive != 0).then(|| Arc::clone(filter));
    }

    /// Whether the rule leaves out the member whose quoted name is at `start..end`, in an object in which `alive` is
    /// alive. If not, its value comes next.
    #[inline(never)]
    pub(super) fn leaves_out(&mut self, alive: Alive, start: usize, end: usize) -> bool {
        let Some(filter) = &self.filter else { return false };
        let inside = filter.member(alive, usize::from(self.depth) - 1, &self.text[start + 1..end - 1]);
        self.alive = inside.unwrap_or(alive);
        inside.is_none()
    }

    /// Announces an element of an array in which `alive` is alive.
    #[inline(never)]
    pub(super) fn enter_element(&mut self, alive: Alive) {
        if let Some(filter) = &self.filter {
            self.alive = filter.element(alive, usize::from(self.depth) - 1);
        }
    }

    /// Opens an array or an object.
    pub(super) fn open(&mut self, bracket: u8) -> Result<(), KeyError> {
        if self.depth == DEEPEST {
            return Err(KeyError::new(KeyErrorKind::TooDeep));
        }
        self.depth += 1;
        self.text.push(bracket);
        Ok(())
    }

    /// Closes what [`open`](Self::open) opened.
    pub(super) fn close(&mut self, bracket: u8) {
        self.depth -= 1;
        self.text.push(bracket);
    }

    /// How many arrays and objects are open.
    pub(super) fn depth(&self) -> u8 {
        self.depth
    }

    /// Appends a member's name and its colon.
    pub(super) fn write_name(&mut self, name: &str) {
        let start = self.text.len();
        let escaped = string::write(&mut self.text, name);
        self.members.push(Member::named(name, start, self.text.len(), escaped));
        self.text.push(b':');
    }

    /// The error to return for one from further in.
    #[cold]
    pub(super) fn fail(&mut self, error: KeyError) -> KeyError {
        self.broken = true;
        error
    }

    /// Checks that no error was returned before.
    ///
    /// A `Serialize` that ignores the error of an element and goes on would otherwise get the key of half a value.
    pub(super) fn sound(&self) -> Result<(), KeyError> {
        if self.broken {
            return Err(serde::ser::Error::custom("a `Serialize` went on after an error"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{DEEPEST, KEPT, Spare, Tape};

    #[test]
    fn a_tape_comes_back_empty_and_with_its_room() {
        let mut tape = Tape::take();
        tape.text.reserve_exact(1000);
        tape.open(b'{').unwrap();
        tape.write_name("name");
        tape.open(b'[').unwrap();
        tape.fail(serde::ser::Error::custom("an error that nobody saw"));
        tape.put_back();
        let tape = Tape::take();
        assert!(tape.text.capacity() >= 1000);
        assert!(tape.text.is_empty() && tape.members.is_empty());
        assert_eq!(tape.depth(), 0);
        tape.sound().unwrap();
    }

    #[test]
    fn a_big_tape_is_not_kept() {
        for grow in [
            |tape: &mut Tape| tape.text.reserve_exact(KEPT + 1),
            |tape: &mut Tape| tape.moved.reserve_exact(KEPT + 1),
            |tape: &mut Tape| tape.shown.reserve_exact(KEPT + 1),
            |tape: &mut Tape| tape.members.reserve_exact(KEPT),
        ] {
            let mut tape = Tape::default();
            grow(&mut tape);
            tape.put_back();
            assert!(Spare::take().is_none());
        }
    }

    #[test]
    fn the_level_after_the_deepest_does_not_open() {
        let mut tape = Tape::default();
        for _ in 0..DEEPEST {
            tape.open(b'[').unwrap();
        }
        tape.open(b'[').unwrap_err();
        tape.close(b']');
        tape.open(b'[').unwrap();
    }
}
