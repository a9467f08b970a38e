//! The buffers that a key is made in, kept per thread between two keys.

use std::sync::Arc;

use super::filter::{Alive, Filter};
use super::order::Member;
use super::string;
use crate::key::error::{KeyError, KeyErrorKind};
use crate::sync::spare_per_thread;

/// How many arrays and objects may be open at once: what `serde_json` reads. A request's own value stands at level 0.
pub(super) const DEEPEST: u8 = 127;

/// More bytes than this are not kept: with hundreds of threads, spare buffers of one big request each would be a leak.
const KEPT: usize = 256 * 1024;

spare_per_thread! {
    /// The tape of this thread's last key.
    Spare: Tape
}

/// The canonical text as far as it is written, and what is needed to go on.
#[derive(Default)]
pub(crate) struct Tape {
    pub(super) text: Vec<u8>,
    /// The members of all open objects, the innermost object's last.
    pub(super) members: Vec<Member>,
    /// Where an object's members are put in order before they are copied back.
    pub(super) moved: Vec<u8>,
    /// Where a value's `Display` is collected.
    pub(super) shown: String,
    /// What a rule leaves out.
    filter: Option<Arc<Filter>>,
    /// Which of its pointers lead into the value that is written next; 0 where no rule has anything to say.
    pub(super) alive: Alive,
    /// How many arrays and objects are open.
    depth: u8,
    /// Whether an error was given to a `Serialize`, which may have kept it to itself. What was written since then
    /// need not fit together.
    broken: bool,
}

impl Tape {
    /// What `finish` makes of a text that begins with `prefix` and goes on with what `write` appends, but for what the
    /// pointers leave out of that.
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
        // Returns Err: the tape is emptied and kept. Panics: the tape is lost, and the next key begins a new one.
        // Re-enters: that key finds no spare tape, begins one, and leaves it where ours then replaces it.
        let outcome = write(&mut tape).and_then(|()| tape.sound());
        let outcome = outcome.map(|()| finish(&mut tape.text));
        tape.put_back();
        outcome
    }

    /// An empty tape: this thread's spare one, unless a key is being made further up the stack.
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

    /// Leaves out of the request that is written next what the pointers say.
    fn leave_out(&mut self, filter: &Arc<Filter>) {
        self.alive = filter.all();
        // A rule without pointers costs no count of references, which threads would contend for.
        self.filter = (self.alive != 0).then(|| Arc::clone(filter));
    }

    /// Whether the rule leaves out the member whose name stands between the quotes from `start` to `end`. If not, its
    /// value comes next. In the object around it `alive` is alive.
    #[inline(never)]
    pub(super) fn leaves_out(&mut self, alive: Alive, start: usize, end: usize) -> bool {
        let Some(filter) = &self.filter else { return false };
        let inside = filter.member(alive, usize::from(self.depth) - 1, &self.text[start + 1..end - 1]);
        self.alive = inside.unwrap_or(alive);
        inside.is_none()
    }

    /// An element comes next, of an array in which `alive` is alive.
    #[inline(never)]
    pub(super) fn enter_element(&mut self, alive: Alive) {
        if let Some(filter) = &self.filter {
            self.alive = filter.element(alive, usize::from(self.depth) - 1);
        }
    }

    /// Begins an array or an object.
    pub(super) fn open(&mut self, bracket: u8) -> Result<(), KeyError> {
        if self.depth == DEEPEST {
            return Err(KeyError::new(KeyErrorKind::TooDeep));
        }
        self.depth += 1;
        self.text.push(bracket);
        Ok(())
    }

    /// Ends what [`open`](Self::open) began.
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

    /// The error to hand out for one that came from further in.
    #[cold]
    pub(super) fn fail(&mut self, error: KeyError) -> KeyError {
        self.broken = true;
        error
    }

    /// That no error was given out before.
    ///
    /// A `Serialize` that drops the error of an element and goes on would otherwise get the key of half a value.
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
