//! [`Paths`]: the pointers of a rule.

use std::sync::Arc;

use crate::key::canonical::filter::{Filter, Step, Verdict};
use crate::key::error::{KeyError, KeyErrorKind};

/// The pointers of one rule, as they were given and as the filter for what is written.
#[derive(Clone, Default)]
pub(super) struct Paths {
    texts: Vec<(Verdict, Box<str>)>,
    filter: Arc<Filter>,
}

impl Paths {
    /// Adds a pointer, unless it is there already.
    pub(super) fn add(&mut self, text: &str, verdict: Verdict) -> Result<(), KeyError> {
        let bad_rule = |why| KeyError::new(KeyErrorKind::BadRule(why)).at(text);
        if self.list(verdict).any(|known| known == text) {
            return Ok(());
        }
        let steps = parse(text).map_err(bad_rule)?;
        if !Arc::make_mut(&mut self.filter).add(steps, verdict) {
            return Err(bad_rule("more than 64 pointers"));
        }
        self.texts.push((verdict, text.into()));
        Ok(())
    }

    /// The pointers of one kind, sorted by UTF-16 code units, like the names of members.
    pub(super) fn sorted(&self, verdict: Verdict) -> Vec<&str> {
        let mut texts: Vec<_> = self.list(verdict).collect();
        texts.sort_unstable_by(|left, right| left.encode_utf16().cmp(right.encode_utf16()));
        texts
    }

    pub(super) fn filter(&self) -> &Arc<Filter> {
        &self.filter
    }

    fn list(&self, verdict: Verdict) -> impl Iterator<Item = &str> {
        self.texts.iter().filter(move |(its, _)| *its == verdict).map(|(_, text)| &**text)
    }
}

/// The steps of a pointer. No two texts have the same steps.
fn parse(text: &str) -> Result<Box<[Step]>, &'static str> {
    let Some(steps) = text.strip_prefix('/') else {
        return Err("pointer does not start with `/`");
    };
    let steps = steps.split('/').map(parse_step).collect::<Result<Box<_>, _>>()?;
    if steps.last() == Some(&Step::Any) {
        return Err("pointer ends in `*` instead of a member's name");
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
                _ => return Err("`~` is not followed by `0`, `1` or `2`"),
            },
            '*' => return Err("`*` does not stand alone in its step (`~2` is a star in a name)"),
            other => other,
        });
    }
    Ok(Step::member(&name))
}

#[cfg(test)]
mod tests {
    use super::Paths;
    use crate::key::canonical::filter::{MOST, Verdict};

    fn paths(drop: &[&str], keep: &[&str]) -> Paths {
        let mut paths = Paths::default();
        for (pointers, verdict) in [(drop, Verdict::Drop), (keep, Verdict::Keep)] {
            pointers.iter().try_for_each(|pointer| paths.add(pointer, verdict)).unwrap();
        }
        paths
    }

    #[test]
    fn a_pointer_is_alive_as_long_as_its_steps_match() {
        let paths = paths(&["/a/*/c", "/a/b/d", "/x"], &[]);
        assert_eq!(paths.filter().all(), 0b111);
        assert_eq!(paths.filter().member(0b111, 0, b"a"), Some(0b011));
        assert_eq!(paths.filter().member(0b011, 1, b"b"), Some(0b011));
        assert_eq!(paths.filter().member(0b011, 1, b"z"), Some(0b001));
        assert_eq!(paths.filter().element(0b011, 1), 0b001);
        assert_eq!(paths.filter().member(0b011, 2, b"c"), None);
        assert_eq!(paths.filter().member(0b011, 2, b"e"), Some(0));
        assert_eq!(paths.filter().member(0b111, 0, b"x"), None);
        assert_eq!(paths.filter().member(0b111, 0, b"y"), Some(0));
    }

    #[test]
    fn where_pointers_keep_nothing_else_counts() {
        let paths = paths(&["/a/b/no"], &["/a/b", "/a/b/c", "/l/*/m"]);
        assert_eq!(paths.filter().member(0b1111, 0, b"z"), None);
        assert_eq!(paths.filter().member(0b1111, 0, b"a"), Some(0b0111));
        assert_eq!(paths.filter().member(0b0111, 1, b"z"), None);
        assert_eq!(paths.filter().member(0b0111, 1, b"b"), Some(0b0001));
        assert_eq!(paths.filter().member(0b0001, 2, b"no"), None);
        assert_eq!(paths.filter().member(0b0001, 2, b"yes"), Some(0));
        assert_eq!(paths.filter().member(0b1111, 0, b"l"), Some(0b1000));
        assert_eq!(paths.filter().element(0b1000, 1), 0b1000);
        // An array where the pointer expects a member's name.
        assert_eq!(paths.filter().element(0b0111, 1), 0);
    }

    #[test]
    fn sixty_four_pointers_and_not_one_more() {
        let names: Vec<_> = (0..MOST).map(|index| format!("/{index}")).collect();
        let mut paths = paths(&names.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        assert_eq!(paths.filter().all(), u64::MAX);
        assert_eq!(paths.filter().member(u64::MAX, 0, b"63"), None);
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
