//! Documents as others might write them: spaces, escapes, and numbers in every layout.

use serde_json::Value;

use super::round_trip::mix;

/// A text for a document, one of many.
pub(super) fn text(value: &Value, seed: u64) -> String {
    let mut hand = Hand { text: String::new(), state: mix(seed) };
    hand.value(value);
    hand.space();
    hand.text
}

struct Hand {
    text: String,
    state: u64,
}

impl Hand {
    /// True once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.state = mix(self.state);
        (self.state >> 32) % times == 0
    }

    fn space(&mut self) {
        while self.once_in(8) {
            let space = if self.once_in(2) { " " } else { "\n\t\r" };
            self.text.push_str(space);
        }
    }

    fn value(&mut self, value: &Value) {
        self.space();
        match value {
            Value::Number(number) => self.number(number),
            Value::String(string) => self.string(string),
            Value::Array(elements) => {
                let mut separator = '[';
                for element in elements {
                    self.text.push(separator);
                    self.value(element);
                    self.space();
                    separator = ',';
                }
                self.text.push_str(if elements.is_empty() { "[ ]" } else { "]" });
            }
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                if self.once_in(2) {
                    members.reverse();
                }
                let mut separator = '{';
                for (name, member) in &members {
                    self.text.push(separator);
                    self.space();
                    self.string(name);
                    self.space();
                    self.text.push(':');
                    self.value(member);
                    self.space();
                    separator = ',';
                }
                self.text.push_str(if members.is_empty() { "{\n}" } else { "}" });
            }
            leaf => self.text.push_str(&leaf.to_string()),
        }
    }

    /// The number, or another one near it: the text is what counts.
    fn number(&mut self, number: &serde_json::Number) {
        let plain = number.to_string();
        let written = match number.as_f64() {
            Some(double) if self.once_in(4) => format!("{double:e}"),
            Some(double) if self.once_in(4) => format!("{double:E}").replace('E', "E+").replace("+-", "-"),
            Some(double) if self.once_in(4) => format!("{double:.25}"),
            _ if self.once_in(8) && plain.parse::<i128>().is_ok() => plain + ".0",
            _ => plain,
        };
        self.text.push_str(&written);
        if self.once_in(16) && written.parse::<u64>().is_ok_and(|value| value != 0) {
            self.text.push_str("0000000000");
        }
    }

    fn string(&mut self, string: &str) {
        self.text.push('"');
        for character in string.chars() {
            if character < ' ' || character == '"' || character == '\\' || self.once_in(16) {
                let upper = self.once_in(2);
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let digits = format!("{unit:04x}");
                    self.text.push_str("\\u");
                    self.text.push_str(&if upper { digits.to_uppercase() } else { digits });
                }
            } else if character == '/' && self.once_in(2) {
                self.text.push_str("\\/");
            } else {
                self.text.push(character);
            }
        }
        self.text.push('"');
    }
}
