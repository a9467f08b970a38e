//! RFC 8785 strings: which bytes are escaped, and how to find them many at a time.

use crate::key::{digest, shared_text};

/// Appends a string with its quotes. True if anything in it was escaped.
pub(super) fn write(text: &mut Vec<u8>, string: &str) -> bool {
    text.reserve(string.len() + SHORT + 2);
    text.push(b'"');
    let escaped = match short(string.as_bytes()) {
        Some(block) if special_bytes(low(block)) | special_bytes(high(block)) == 0 => {
            // A copy of fixed length is a register move; one of variable length is a call.
            text.extend_from_slice(&block.to_le_bytes());
            text.truncate(text.len() - SHORT + string.len());
            false
        }
        _ => write_long(text, string.as_bytes()),
    };
    text.push(b'"');
    escaped
}

/// Appends a string value, folded if it is long or could be taken for a fold.
///
/// Every other string that begins with U+0000 is folded itself, so nothing else can be taken for a fold.
pub(super) fn write_folded(text: &mut Vec<u8>, value: &str) {
    if !digest::folds(value) {
        write(text, value);
        return;
    }
    let hash = shared_text::remembered(value).unwrap_or_else(|| digest::long_string(value));
    text.extend_from_slice(br#""\u0000b3:"#);
    text.extend_from_slice(hash.to_hex().as_bytes());
    text.push(b'"');
}

/// The longest short string, in bytes. Most names are short, and so are most strings of small objects.
const SHORT: usize = 16;

/// The bytes of a short string, the first one lowest, padded with spaces.
fn short(bytes: &[u8]) -> Option<u128> {
    const SPACES: u128 = u128::from_le_bytes([b' '; SHORT]);
    let front = |bytes: &[u8]| u128::from(front(bytes));
    let block = match bytes.len() {
        0..8 => front(bytes),
        // The two words may overlap.
        8..=SHORT => front(bytes) | front(&bytes[bytes.len() - 8..]) << (8 * (bytes.len() - 8)),
        _ => return None,
    };
    Some(block | SPACES.checked_shl(8 * u32::try_from(bytes.len()).ok()?).unwrap_or(0))
}

/// The first eight bytes, the first one lowest, padded with zeros.
pub(super) fn front(bytes: &[u8]) -> u64 {
    // Two words hold all the bytes. Where they overlap, they hold the same ones.
    let both = |first: u32, last: u32, width: usize| u64::from(first) | u64::from(last) << (8 * (bytes.len() - width));
    match bytes {
        [_, _, _, _, _, _, _, _, ..] => bytes.first_chunk().copied().map_or(0, u64::from_le_bytes),
        [_, _, _, _, ..] => {
            let word = |chunk: Option<&[u8; 4]>| chunk.copied().map_or(0, u32::from_le_bytes);
            both(word(bytes.first_chunk()), word(bytes.last_chunk()), 4)
        }
        [first, .., last] => both((*first).into(), (*last).into(), 1) | u64::from(bytes[1]) << 8,
        [byte] => u64::from(*byte),
        [] => 0,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
const fn low(block: u128) -> u64 {
    block as u64
}

const fn high(block: u128) -> u64 {
    low(block >> 64)
}

fn write_long(text: &mut Vec<u8>, mut rest: &[u8]) -> bool {
    let mut escaped = false;
    loop {
        let (plain, after) = rest.split_at(plain_bytes(rest));
        text.extend_from_slice(plain);
        let [special, after @ ..] = after else { return escaped };
        write_escape(text, *special);
        escaped = true;
        rest = after;
    }
}

/// The number of bytes before the first one that needs an escape.
fn plain_bytes(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    // Without an early exit the compiler checks the block as one vector. That shows only that there is a special byte;
    // the steps below find it.
    while let Some((block, after)) = rest.split_first_chunk::<16>() {
        if block.iter().fold(false, |any, &byte| any | is_special(byte)) {
            break;
        }
        rest = after;
    }
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return bytes.len() - rest.len() + special.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    bytes.len() - rest.len() + rest.iter().take_while(|&&byte| !is_special(byte)).count()
}

/// Takes the least of three numbers, each 0 for its kind of special byte, so that a vector needs one comparison.
fn is_special(byte: u8) -> bool {
    (byte ^ b'"').min(byte ^ b'\\').min(byte & !0x1f) == 0
}

/// The high bit of every byte that needs an escape, exact up to the lowest one set.
///
/// A subtraction borrows only from bytes above a hit, so a false hit is never the lowest.
const fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let control_hit = word.wrapping_sub(ONES * 0x20) & !word;
    let quote_hit = quote.wrapping_sub(ONES) & !quote;
    let backslash_hit = backslash.wrapping_sub(ONES) & !backslash;
    (control_hit | quote_hit | backslash_hit) & (ONES * 0x80)
}

fn write_escape(text: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => {
            let low = DIGITS[usize::from(byte & 0xf)];
            text.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), low]);
            return;
        }
    };
    text.extend_from_slice(&[b'\\', short]);
}

/// The bytes that [`write()`] was given, from what it wrote between the quotes.
pub(super) fn unescaped(inside: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = inside.iter().copied();
    std::iter::from_fn(move || {
        let byte = rest.next()?;
        if byte != b'\\' {
            return Some(byte);
        }
        Some(match rest.next()? {
            b'u' => {
                // `write` writes four digits: two zeros, then 0 or 1, then any digit.
                let high = rest.nth(2)? - b'0';
                let low = rest.next()?;
                high << 4 | if low.is_ascii_digit() { low - b'0' } else { low - b'a' + 10 }
            }
            b'b' => 0x08,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 0x0c,
            b'r' => b'\r',
            itself => itself,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{SHORT, front, short, unescaped, write, write_folded};
    use crate::key::digest::LONGEST;

    fn written(string: &str) -> String {
        let mut text = Vec::new();
        let escaped = write(&mut text, string);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(escaped, text.contains('\\'), "{string:?}");
        text
    }

    #[test]
    fn every_character_below_u0100_is_written_as_serde_json_writes_it_at_every_offset() {
        // serde_json's string escapes are those of RFC 8785.
        for character in (0..=0xff_u8).map(char::from) {
            for before in 0..34 {
                for after in [0, 1, 8, 16] {
                    let string = format!("{}{character}{}", "é".repeat(before / 2) + "x", "y".repeat(after));
                    assert_eq!(written(&string), serde_json::to_string(&string).unwrap());
                }
            }
        }
    }

    #[test]
    fn a_short_string_is_one_block() {
        let bytes: Vec<u8> = (1..=20).collect();
        for length in 0..=20 {
            let padded = |to: usize, with: u8| {
                let mut padded = bytes[..length.min(to)].to_vec();
                padded.resize(to, with);
                padded
            };
            let block = short(&bytes[..length]).map(|block| block.to_le_bytes().to_vec());
            assert_eq!(block, (length <= SHORT).then(|| padded(SHORT, b' ')), "{length}");
            assert_eq!(front(&bytes[..length]).to_le_bytes().to_vec(), padded(8, 0), "{length}");
        }
    }

    #[test]
    fn neighbouring_specials_do_not_hide_each_other() {
        // A borrow in the word-wide test may only spoil bytes above a hit.
        for first in 0..0x80_u8 {
            for second in 0..0x80_u8 {
                let string: String =
                    ["ab", &char::from(first).to_string(), &char::from(second).to_string(), "cdef"].concat();
                assert_eq!(written(&string), serde_json::to_string(&string).unwrap());
            }
        }
    }

    #[test]
    fn escapes_are_those_of_rfc_8785() {
        assert_eq!(
            written("\u{8}\t\n\u{c}\r\"\\/\u{0}\u{1f}\u{7f}é€😂"),
            r#""\b\t\n\f\r\"\\/\u0000\u001f"#.to_owned() + "\u{7f}é€😂\""
        );
    }

    #[test]
    fn unescaping_gives_back_what_was_written() {
        let string: String = (0..0x200).filter_map(char::from_u32).collect();
        let text = written(&string);
        let inside = &text.as_bytes()[1..text.len() - 1];
        assert_eq!(unescaped(inside).collect::<Vec<_>>(), string.as_bytes());
    }

    #[test]
    fn long_strings_and_those_that_begin_with_nul_are_folded_and_no_others() {
        let folded = |value: &str| {
            let mut text = Vec::new();
            write_folded(&mut text, value);
            let fold =
                blake3::Hash::from_bytes(blake3::derive_key("sync-coalesce 2026-11 long string v1", value.as_bytes()));
            let is_folded = text == format!(r#""\u0000b3:{fold}""#).into_bytes();
            if !is_folded {
                assert_eq!(text, serde_json::to_vec(value).unwrap());
            }
            is_folded
        };
        assert!(!folded(""));
        assert!(!folded(&"x".repeat(LONGEST - 1)));
        assert!(!folded(&"x".repeat(LONGEST)));
        assert!(folded(&"x".repeat(LONGEST + 1)));
        // Bytes count, not characters and not the length of the escaped text.
        assert!(!folded(&"é".repeat(LONGEST / 2)));
        assert!(folded(&("x".repeat(LONGEST - 1) + "é")));
        assert!(!folded(&"\n".repeat(LONGEST)));
        assert!(folded("\0"));
        assert!(folded("\0b3:"));
        assert!(!folded("x\0"));
    }
}
