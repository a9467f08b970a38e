//! The pointers of a rule, and which of them still lead somewhere while a request is written.
//!
//! A pointer has one step for each level, so all that has to be known at a level is which pointers have matched so far.
//! That is a set of at most 64 bits; where it is empty there is no rule.

use super::error::{KeyError, KeyErrorKind};
use super::string;

/// The pointers that have matched all the way to some place in a request, and go on.
pub(super) type Alive = u64;

/// How many pointers a rule may have.
const MOST: usize = Alive::BITS as usize;

/// Whether what a pointer names is left out, or is all that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Drop,
    Keep,
}

/// The pointers of one rule.
#[derive(Clone, Default)]
pub(super) struct Paths {
    pointers: Vec<Pointer>,
    /// Which of them keep.
    keep: Alive,
}

#[derive(Clone)]
struct Pointer {
    text: Box<str>,
    steps: Box<[Step]>,
}

#[derive(Clone, PartialEq, Eq)]
enum Step {
    /// The member of this name, as it stands between the quotes in the canonical text.
    Member(Box<[u8]>),
    /// Any one member or element.
    Any,
}

impl Paths {
    /// Adds a pointer, unless it is there already.
    pub(super) fn add(&mut self, text: &str, verdict: Verdict) -> Result<(), KeyError> {
        let refused = |why| KeyError::new(KeyErrorKind::BadRule(why)).at(text);
        if self.list(verdict).any(|known| known == text) {
            return Ok(());
        }
        let steps = parse(text).map_err(refused)?;
        if self.pointers.len() == MOST {
            return Err(refused("a rule has more than 64 pointers"));
        }
        if verdict == Verdict::Keep {
            self.keep |= 1 << self.pointers.len();
        }
        self.pointers.push(Pointer { text: text.into(), steps });
        Ok(())
    }

    /// The texts of the pointers of one kind, in the order of their UTF-16 code units, as the names of members are.
    pub(super) fn sorted(&self, verdict: Verdict) -> Vec<&str> {
        let mut texts: Vec<_> = self.list(verdict).collect();
        texts.sort_unstable_by(|left, right| left.encode_utf16().cmp(right.encode_utf16()));
        texts
    }

    fn list(&self, verdict: Verdict) -> impl Iterator<Item = &str> {
        let keeps = |index: usize| self.keep >> index & 1 == 1;
        let wanted = self.pointers.iter().enumerate().filter(move |(at, _)| keeps(*at) == (verdict == Verdict::Keep));
        wanted.map(|(_, pointer)| &*pointer.text)
    }

    /// What is alive at the root of a request: every pointer.
    pub(super) fn all(&self) -> Alive {
        (0..self.pointers.len()).fold(0, |all, index| all | 1 << index)
    }

    /// What is alive inside a member of an object in which `alive` is; `None` if the member is left out.
    ///
    /// `level` counts the arrays and objects around that object, and `name` stands as it does in the canonical text.
    pub(super) fn member(&self, alive: Alive, level: usize, name: &[u8]) -> Option<Alive> {
        let (mut inside, mut ended) = (0, 0);
        for index in indices(alive) {
            let steps = &self.pointers[index].steps;
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
            // All that is in it is kept, whatever other pointers keep of it.
            _ => Some(inside & !self.keep),
        }
    }

    /// What is alive inside an element of an array in which `alive` is. Elements are never left out, so one that no
    /// pointer keeps is kept whole.
    pub(super) fn element(&self, alive: Alive, level: usize) -> Alive {
        let any = |index: &usize| self.pointers[*index].steps.get(level) == Some(&Step::Any);
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

/// Reads a pointer, of which there is one text for each list of steps.
fn parse(text: &str) -> Result<Box<[Step]>, &'static str> {
    let Some(steps) = text.strip_prefix('/') else {
        return Err("a rule's pointer does not begin with `/`");
    };
    let steps = steps.split('/').map(parse_step).collect::<Result<Box<_>, _>>()?;
    if steps.last() == Some(&Step::Any) {
        return Err("a rule's pointer ends in `*`, and not in the name of a member");
    }
    Ok(steps)
}

fn parse_step(text: &str) -> Result<Step, &'static str> {
    if text == "*" {
        return Ok(Step::Any);
    }
    let mut name = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        name.push(match character {
            '~' => match rest.next() {
                Some('0') => '~',
                Some('1') => '/',
                Some('2') => '*',
                _ => return Err("in a rule's pointer stands a `~` that is not `~0`, `~1` or `~2`"),
            },
            '*' => return Err("in a rule's pointer stands a `*` beside other characters; `~2` is a star in a name"),
            other => other,
        });
    }
    let mut quoted = Vec::new();
    string::write(&mut quoted, &name);
    Ok(Step::Member(quoted[1..quoted.len() - 1].into()))
}

#[cfg(test)]
mod tests {
    use super::{MOST, Paths, Verdict, indices};

    fn paths(drop: &[&str], keep: &[&str]) -> Paths {
        let mut paths = Paths::default();
        for (pointers, verdict) in [(drop, Verdict::Drop), (keep, Verdict::Keep)] {
            pointers.iter().try_for_each(|pointer| paths.add(pointer, verdict)).unwrap();
        }
        paths
    }

    #[test]
    fn a_set_is_listed_from_its_lowest_bit_to_its_highest() {
        assert_eq!(indices(0).count(), 0);
        assert_eq!(indices(1 << 63 | 0b101).collect::<Vec<_>>(), [0, 2, 63]);
        assert!(indices(u64::MAX).eq(0..64));
    }

    #[test]
    fn a_pointer_is_alive_as_long_as_its_steps_match() {
        let paths = paths(&["/a/*/c", "/a/b/d", "/x"], &[]);
        assert_eq!(paths.all(), 0b111);
        assert_eq!(paths.member(0b111, 0, b"a"), Some(0b011));
        assert_eq!(paths.member(0b011, 1, b"b"), Some(0b011));
        assert_eq!(paths.member(0b011, 1, b"z"), Some(0b001));
        assert_eq!(paths.element(0b011, 1), 0b001);
        assert_eq!(paths.member(0b011, 2, b"c"), None);
        assert_eq!(paths.member(0b011, 2, b"e"), Some(0));
        assert_eq!(paths.member(0b111, 0, b"x"), None);
        assert_eq!(paths.member(0b111, 0, b"y"), Some(0));
    }

    #[test]
    fn where_pointers_keep_nothing_else_counts() {
        let paths = paths(&["/a/b/no"], &["/a/b", "/a/b/c", "/l/*/m"]);
        assert_eq!(paths.member(0b1111, 0, b"z"), None);
        assert_eq!(paths.member(0b1111, 0, b"a"), Some(0b0111));
        assert_eq!(paths.member(0b0111, 1, b"z"), None);
        assert_eq!(paths.member(0b0111, 1, b"b"), Some(0b0001));
        assert_eq!(paths.member(0b0001, 2, b"no"), None);
        assert_eq!(paths.member(0b0001, 2, b"yes"), Some(0));
        assert_eq!(paths.member(0b1111, 0, b"l"), Some(0b1000));
        assert_eq!(paths.element(0b1000, 1), 0b1000);
        // An array where the pointer expects a member's name.
        assert_eq!(paths.element(0b0111, 1), 0);
    }

    #[test]
    fn sixty_four_pointers_and_not_one_more() {
        let names: Vec<_> = (0..MOST).map(|index| format!("/{index}")).collect();
        let mut paths = paths(&names.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        assert_eq!(paths.all(), u64::MAX);
        assert_eq!(paths.member(u64::MAX, 0, b"63"), None);
        paths.add("/63", Verdict::Drop).unwrap();
        assert_eq!(paths.add("/64", Verdict::Drop).unwrap_err().path(), "/64");
    }

    #[test]
    fn pointers_are_listed_once_and_as_utf_16_sorts_them() {
        let paths = paths(&["/\u{1f600}", "/b", "/\u{fb33}", "/b"], &["/b"]);
        assert_eq!(paths.sorted(Verdict::Drop), ["/b", "/\u{1f600}", "/\u{fb33}"]);
        assert_eq!(paths.sorted(Verdict::Keep), ["/b"]);
    }
}
