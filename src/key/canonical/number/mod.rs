//! RFC 8785 numbers: the shortest digits in ECMAScript's layout, and exact integers where a double would round.

use crate::key::error::{KeyError, KeyErrorKind};

/// Up to here, every integer is exactly a double.
const EXACT: u64 = 1 << 53;

/// Appends a double as ECMAScript would write it. Both zeros are `0`.
pub(super) fn write_f64(text: &mut Vec<u8>, value: f64) -> Result<(), KeyError> {
    #[expect(clippy::cast_precision_loss, reason = "2^53 is a double")]
    const LIMIT: f64 = EXACT as f64;
    if !value.is_finite() {
        return Err(KeyError::new(KeyErrorKind::NotFinite));
    }
    #[expect(clippy::cast_possible_truncation, reason = "the comparison shows whether anything was cut off")]
    let whole = value as i64;
    #[expect(clippy::cast_precision_loss, clippy::float_cmp, reason = "below 2^53 both ways are exact")]
    if value.abs() <= LIMIT && whole as f64 == value {
        write_decimal(text, &whole);
        return Ok(());
    }
    let shortest = Shortest::of(&value);
    let digits = shortest.as_bytes();
    // From 1e-6 to 2^53 neither ECMAScript nor any known serde_json writes an exponent. Otherwise the layout is ours.
    if (1e-6..LIMIT).contains(&value.abs()) && !digits.contains(&b'e') {
        text.extend_from_slice(digits);
    } else {
        lay_out(text, digits);
    }
    Ok(())
}

/// Appends a single as the double that its own shortest text stands for, because that text is what is sent.
pub(super) fn write_f32(text: &mut Vec<u8>, value: f32) -> Result<(), KeyError> {
    // serde_json writes these as `null`, which would not parse below.
    if !value.is_finite() {
        return Err(KeyError::new(KeyErrorKind::NotFinite));
    }
    write_f64(text, parse(Shortest::of(&value).as_str())?)
}

/// Appends an integer: as a double if that is exact, otherwise as a string that nothing else is written as.
pub(super) fn write_u64(text: &mut Vec<u8>, value: u64) {
    write_integer(text, value, false);
}

/// Appends an integer, like [`write_u64`].
pub(super) fn write_i64(text: &mut Vec<u8>, value: i64) {
    write_integer(text, value.unsigned_abs(), value < 0);
}

fn write_integer(text: &mut Vec<u8>, magnitude: u64, negative: bool) {
    if magnitude <= EXACT {
        if negative {
            text.push(b'-');
        }
        write_decimal(text, &magnitude);
        return;
    }
    let sign: &[u8] = if negative { b"-" } else { b"" };
    // Counts bits instead of casting to a double and back, because u64::MAX would come back as u64::MAX.
    let significant = u64::BITS - magnitude.leading_zeros() - magnitude.trailing_zeros();
    if significant <= f64::MANTISSA_DIGITS {
        text.extend_from_slice(sign);
        #[expect(clippy::cast_precision_loss, reason = "53 significant bits are what a double has")]
        lay_out(text, Shortest::of(&(magnitude as f64)).as_bytes());
    } else {
        text.extend_from_slice(br#""\u0000i:"#);
        text.extend_from_slice(sign);
        write_decimal(text, &magnitude);
        text.push(b'"');
    }
}

/// Appends a number that is kept as text, as if it were part of a document parsed without `arbitrary_precision`: an
/// integer from `i64::MIN` to `u64::MAX` is exact, and everything else is the nearest double.
pub(super) fn write_text(text: &mut Vec<u8>, number: &str) -> Result<(), KeyError> {
    if !is_number(number.as_bytes()) {
        return Err(KeyError::new(KeyErrorKind::NotJson(format!("`{number}` is not a number"))));
    }
    if let Ok(value) = number.parse::<u64>() {
        write_u64(text, value);
    } else if let Ok(value) = number.parse::<i64>() {
        write_i64(text, value);
    } else {
        write_f64(text, parse(number)?)?;
    }
    Ok(())
}

/// Whether this is a number by JSON's grammar. The standard library's parsers accept more, such as `inf` and `+1`.
fn is_number(number: &[u8]) -> bool {
    let digits = |from: &[u8]| from.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = number.strip_prefix(b"-").unwrap_or(number);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let length = digits(exponent);
        return length > 0 && length == exponent.len();
    }
    rest.is_empty()
}

fn parse(number: &str) -> Result<f64, KeyError> {
    number.parse().map_err(|_| KeyError::new(KeyErrorKind::NotJson(format!("`{number}` is not a number"))))
}

fn write_decimal(text: &mut Vec<u8>, integer: &impl serde::Serialize) {
    serde_json::to_writer(text, integer).expect("integers are valid JSON, and writing to a Vec cannot fail");
}

/// The shortest text of a finite float, as `serde_json` writes it.
///
/// Of the shortest texts that read back as the same float, ECMAScript takes the nearest, and of two equally near the
/// even one. `serde_json` follows that rule; the standard library's `{:e}` does not.
struct Shortest {
    // The longest look like `-2.2250738585072014e-308`.
    buffer: [u8; 32],
    length: usize,
}

impl Shortest {
    fn of(float: &impl serde::Serialize) -> Self {
        let mut buffer = [0; 32];
        let mut free = buffer.as_mut_slice();
        serde_json::to_writer(&mut free, float).expect("a finite float is JSON of at most 24 bytes");
        let length = 32 - free.len();
        Self { buffer, length }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("JSON is UTF-8")
    }
}

/// Appends a JSON number other than zero in ECMAScript's layout, whatever its own layout.
fn lay_out(text: &mut Vec<u8>, number: &[u8]) {
    let number = match number.strip_prefix(b"-") {
        Some(magnitude) => {
            text.push(b'-');
            magnitude
        }
        None => number,
    };
    let (mantissa, exponent) = match number.iter().position(|&byte| matches!(byte, b'e' | b'E')) {
        Some(mark) => (&number[..mark], exponent_of(&number[mark + 1..])),
        None => (number, 0),
    };
    let mut buffer = [0; 32];
    let mut length = 0;
    // The value is 0.DIGITS times ten to the power of `point`.
    let mut point = exponent;
    let mut seen_dot = false;
    for &byte in mantissa {
        if byte == b'.' {
            seen_dot = true;
            continue;
        }
        let leading_zero = length == 0 && byte == b'0';
        if !leading_zero {
            buffer[length] = byte;
            length += 1;
        }
        point += i32::from(!seen_dot) - i32::from(leading_zero);
    }
    while length > 0 && buffer[length - 1] == b'0' {
        length -= 1;
    }
    write_layout(text, &buffer[..length], point);
}

fn exponent_of(digits: &[u8]) -> i32 {
    let (negative, digits) = match digits {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let magnitude = digits.iter().fold(0, |value, digit| value * 10 + i32::from(digit - b'0'));
    if negative { -magnitude } else { magnitude }
}

/// ECMAScript's `Number::toString` from the step where the digits are known: 0.DIGITS times ten to the power of
/// `point`.
fn write_layout(text: &mut Vec<u8>, digits: &[u8], point: i32) {
    let zeros = |text: &mut Vec<u8>, count: usize| text.resize(text.len() + count, b'0');
    match (point, usize::try_from(point)) {
        (1..=21, Ok(whole)) => match digits.split_at_checked(whole) {
            Some((whole, fraction)) if !fraction.is_empty() => {
                text.extend_from_slice(whole);
                text.push(b'.');
                text.extend_from_slice(fraction);
            }
            _ => {
                text.extend_from_slice(digits);
                zeros(text, whole - digits.len());
            }
        },
        (-5..=0, _) => {
            text.extend_from_slice(b"0.");
            zeros(text, point.unsigned_abs() as usize);
            text.extend_from_slice(digits);
        }
        _ => {
            text.push(digits[0]);
            if digits.len() > 1 {
                text.push(b'.');
                text.extend_from_slice(&digits[1..]);
            }
            text.extend_from_slice(if point > 0 { b"e+" } else { b"e-" });
            write_decimal(text, &(point - 1).unsigned_abs());
        }
    }
}

#[cfg(test)]
mod tests;
