//! The order of an object's members, and how they are sorted.

use std::cmp::Ordering;

use super::string::{self, unescaped};

/// The place of one member of an open object in the text.
#[derive(Clone, Copy)]
pub(super) struct Member {
    /// At the opening quote of the name.
    start: usize,
    /// At the colon.
    colon: usize,
    /// After the value.
    end: usize,
    /// The first eight bytes of the name, if comparing them is enough: they are ASCII and nothing is escaped.
    lead: Option<u64>,
}

impl Member {
    /// A member whose name is written and whose value is not.
    pub(super) fn named(name: &str, start: usize, colon: usize, escaped: bool) -> Self {
        // A NUL in a name is always escaped, so the padding sorts a name before longer names that begin with it.
        let lead = u64::from_be_bytes(string::front(name.as_bytes()).to_le_bytes());
        let lead = (!escaped && lead & 0x8080_8080_8080_8080 == 0).then_some(lead);
        Self { start, colon, end: colon, lead }
    }

    /// The start and end of the quoted name in the text.
    pub(super) fn name_at(&self) -> (usize, usize) {
        (self.start, self.colon)
    }

    /// Records where the value ends.
    pub(super) fn end_at(&mut self, end: usize) {
        self.end = end;
    }

    /// The name as in the text, without the quotes.
    fn inside<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        &text[self.start + 1..self.colon - 1]
    }

    /// The name as it was given.
    pub(super) fn name(&self, text: &[u8]) -> String {
        String::from_utf8_lossy(&unescaped(self.inside(text)).collect::<Vec<_>>()).into_owned()
    }

    /// Compares the names of two members of one text.
    pub(super) fn compare(&self, other: &Self, text: &[u8]) -> Ordering {
        match (self.lead, other.lead) {
            (Some(left), Some(right)) if left != right => left.cmp(&right),
            _ => compare_names(unescaped(self.inside(text)), unescaped(other.inside(text))),
        }
    }

    fn length(&self) -> usize {
        self.end - self.start
    }
}

/// Compares two UTF-8 strings by their UTF-16 code units.
///
/// The two encodings sort characters alike, except that UTF-16 sorts those above U+FFFF, which are surrogates, below
/// U+E000. In UTF-8 that is a first byte of 0xF0 or more against one of 0xEE or 0xEF.
fn compare_names(mut left: impl Iterator<Item = u8>, mut right: impl Iterator<Item = u8>) -> Ordering {
    loop {
        return match (left.next(), right.next()) {
            (Some(left), Some(right)) if left == right => continue,
            (Some(left @ 0xee..), Some(right @ 0xee..)) if (left >= 0xf0) != (right >= 0xf0) => right.cmp(&left),
            (left, right) => left.cmp(&right),
        };
    }
}

/// Sorts the members of one object, which is the last thing in the text.
///
/// The longest member, which may be nearly the whole request, is moved within the text; only the others go through the
/// scratch buffer.
///
/// # Errors
///
/// The name, if two members have the same one.
pub(super) fn sort(text: &mut [u8], members: &mut [Member], moved: &mut Vec<u8>) -> Result<(), String> {
    let Some(mut at) = members.first().map(|member| member.start) else {
        return Ok(());
    };
    members.sort_unstable_by(|left, right| left.compare(right, text));
    if let Some(twins) = members.windows(2).find(|pair| pair[0].compare(&pair[1], text).is_eq()) {
        return Err(twins[0].name(text));
    }
    let longest = (0..members.len()).max_by_key(|&index| members[index].length()).unwrap_or(0);
    moved.clear();
    for (index, member) in members.iter().enumerate() {
        if index != longest {
            moved.extend_from_slice(&text[member.start..member.end]);
        }
    }
    let before: usize = members[..longest].iter().map(|member| member.length() + 1).sum();
    text.copy_within(members[longest].start..members[longest].end, at + before);
    let mut rest = moved.as_slice();
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            text[at] = b',';
            at += 1;
        }
        let end = at + member.length();
        if index != longest {
            let (bytes, after) = rest.split_at(member.length());
            text[at..end].copy_from_slice(bytes);
            rest = after;
        }
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Member, compare_names, sort};
    use crate::key::canonical::string;

    fn object(names: &[&str]) -> (Vec<u8>, Vec<Member>) {
        let (mut text, mut members) = (b"{".to_vec(), Vec::new());
        for (index, name) in names.iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            let start = text.len();
            let escaped = string::write(&mut text, name);
            let mut member = Member::named(name, start, text.len(), escaped);
            text.extend_from_slice(format!(":{}", "9".repeat(index % 4)).as_bytes());
            member.end_at(text.len());
            members.push(member);
        }
        (text, members)
    }

    #[test]
    fn names_compare_as_utf_16_does() {
        let samples = "\0\u{1}\u{1f} \"/AZ\\az\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fb33}\u{ffff}\u{10000}\u{1f600}\u{10ffff}";
        let mut names = vec![String::new()];
        for first in samples.chars() {
            names.push(first.to_string());
            names.extend(samples.chars().map(|second| format!("{first}{second}")));
        }
        for left in &names {
            for right in &names {
                let expected = left.encode_utf16().cmp(right.encode_utf16());
                assert_eq!(compare_names(left.bytes(), right.bytes()), expected, "{left:?} {right:?}");
                let (text, members) = object(&[left, right]);
                assert_eq!(members[0].compare(&members[1], &text), expected, "{left:?} {right:?}, escaped");
            }
        }
    }

    #[test]
    fn members_move_with_their_values() {
        let (mut text, mut members) = object(&["b", "", "\n", "ab", "a"]);
        sort(&mut text, &mut members, &mut Vec::new()).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), r#"{"":9,"\n":99,"a":,"ab":999,"b":"#);
    }

    #[test]
    fn a_twin_is_named_as_it_was_given() {
        let (mut text, mut members) = object(&["b", "a\n", "c", "a\n"]);
        assert_eq!(sort(&mut text, &mut members, &mut Vec::new()), Err("a\n".to_owned()));
    }
}
