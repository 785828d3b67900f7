//! Text of strangers in a page.

use std::fmt;

/// Shows a text as it is: no markup, no control characters, nothing that turns the direction of what follows.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a>(pub &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Line ends, and the marks and overrides of bidirectional text (Unicode, annex 9), which could show a name as another.
                '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{061c}' => {
                    f.write_str("\u{fffd}")?;
                }
                control if control.is_control() => f.write_str("\u{fffd}")?,
                plain => write!(f, "{plain}")?,
            }
        }
        Ok(())
    }
}

/// A number with its thousands apart.
#[derive(Debug, Clone, Copy)]
pub struct Number(pub u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.char_indices() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_str("\u{202f}")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_controls_lose_their_meaning() {
        assert_eq!(
            Text("<a b=\"c\" d='e'>&\0\n").to_string(),
            "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;\u{fffd}\u{fffd}"
        );
        assert_eq!(Text("a\u{202e}b\u{2066}").to_string(), "a\u{fffd}b\u{fffd}");
        assert_eq!(Text("Zoë 漢字").to_string(), "Zoë 漢字");
    }

    #[test]
    fn thousands_stand_apart() {
        let shown = |number| Number(number).to_string().replace('\u{202f}', " ");
        assert_eq!([shown(0), shown(999), shown(1_000), shown(1_234_567)], ["0", "999", "1 000", "1 234 567"]);
    }
}
