//! The words of an expression.

use super::error::CompileError;
use super::evaluate::parse_double;

/// A word, and the column (from 1, in characters) where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub column: u32,
    pub word: Word,
}

/// One word of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// A name: of a variable, a function or a member.
    Name(String),
    /// The magnitude of a whole number; a sign is a word of its own.
    Whole(u64),
    /// A number with a fraction or an exponent.
    Double(f64),
    /// Text, with its escapes resolved.
    Text(String),
    /// An operator, a bracket or a separator.
    Sign(&'static str),
    /// Behind the last word.
    End,
}

/// Signs, the longer ones first.
const SIGNS: &[&str] = &[
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")", "[", "]",
    "{", "}",
];

/// Splits `source` into words; the last one is [`Word::End`].
pub(super) fn words(source: &str) -> Result<Vec<Token>, CompileError> {
    let mut lexer = Lexer { rest: source, column: 1 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let column = lexer.column;
        let word = lexer.word()?;
        let is_end = word == Word::End;
        tokens.push(Token { column, word });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'s> {
    rest: &'s str,
    column: u32,
}

impl<'s> Lexer<'s> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next()?;
        self.rest = characters.as_str();
        self.column = self.column.saturating_add(1);
        Some(character)
    }

    /// Takes the characters for which `belongs` holds.
    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'s str {
        let before = self.rest;
        while self.peek().is_some_and(&belongs) {
            self.next();
        }
        before.get(..before.len().saturating_sub(self.rest.len())).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        loop {
            self.take_while(|character| character.is_ascii_whitespace());
            if !self.rest.starts_with("//") {
                return;
            }
            self.take_while(|character| character != '\n');
        }
    }

    fn word(&mut self) -> Result<Word, CompileError> {
        let column = self.column;
        let Some(first) = self.peek() else { return Ok(Word::End) };
        if first.is_ascii_digit() || (first == '.' && self.rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit())) {
            return self.number();
        }
        if matches!(first, '"' | '\'') {
            return self.text(false);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let name = self.take_while(|character| character.is_ascii_alphanumeric() || character == '_');
            return match (name, self.peek()) {
                ("r" | "R", Some('"' | '\'')) => self.text(true),
                ("b" | "B" | "br" | "rb" | "bR" | "Rb" | "Br" | "rB" | "BR" | "RB", Some('"' | '\'')) => {
                    Err(CompileError::new(column, "bytes are not known here", "write text without the `b`"))
                }
                _ => Ok(Word::Name(name.to_owned())),
            };
        }
        if let Some(sign) = SIGNS.iter().find(|sign| self.rest.starts_with(**sign)) {
            for _ in sign.chars() {
                self.next();
            }
            return Ok(Word::Sign(sign));
        }
        let hint = match first {
            '=' => "write `==` to compare",
            '&' => "write `&&` for \"and\"",
            '|' => "write `||` for \"or\"",
            '`' => "write such a name in brackets: jwt[\"https://id.example/roles\"]",
            _ => "",
        };
        Err(CompileError::new(column, format!("{first:?} means nothing here"), hint))
    }

    fn number(&mut self) -> Result<Word, CompileError> {
        let column = self.column;
        let malformed = |problem: &str| CompileError::new(column, problem, "");
        let hexadecimal = self.rest.strip_prefix("0x").or_else(|| self.rest.strip_prefix("0X")).is_some();
        let word = if hexadecimal {
            self.next();
            self.next();
            let digits = self.take_while(|character| character.is_ascii_hexdigit());
            u64::from_str_radix(digits, 16).map(Word::Whole).map_err(|_| malformed("is no whole number"))?
        } else {
            let before = self.rest;
            self.take_while(|character| character.is_ascii_digit());
            let mut is_double = false;
            // `1.size()` does not exist in CEL: a point belongs to the number only before a digit.
            if self.peek() == Some('.') && self.rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit()) {
                is_double = true;
                self.next();
                self.take_while(|character| character.is_ascii_digit());
            }
            if matches!(self.peek(), Some('e' | 'E')) {
                is_double = true;
                self.next();
                if matches!(self.peek(), Some('+' | '-')) {
                    self.next();
                }
                self.take_while(|character| character.is_ascii_digit());
            }
            let text = before.get(..before.len().saturating_sub(self.rest.len())).unwrap_or_default();
            if is_double {
                // JSON has no `.5`.
                let number = if text.starts_with('.') { parse_double(&format!("0{text}")) } else { parse_double(text) };
                Word::Double(number.ok_or_else(|| malformed("is no number"))?)
            } else {
                Word::Whole(text.parse().map_err(|_| malformed("is too large for a whole number"))?)
            }
        };
        match self.peek() {
            Some('u' | 'U') => {
                Err(CompileError::new(column, "unsigned numbers are not known here", "leave the `u` out"))
            }
            Some(other) if other.is_ascii_alphanumeric() || other == '_' => Err(malformed("is no number")),
            _ => Ok(word),
        }
    }

    fn text(&mut self, raw: bool) -> Result<Word, CompileError> {
        let column = self.column;
        let unfinished = || CompileError::new(column, "the text has no end", "close it with the quote that begins it");
        let quote = self.next().ok_or_else(unfinished)?;
        if self.rest.starts_with([quote, quote].iter().collect::<String>().as_str()) {
            return Err(CompileError::new(column, "texts in three quotes are not known here", "write one quote"));
        }
        let mut text = String::new();
        loop {
            let at = self.column;
            match self.next().ok_or_else(unfinished)? {
                '\n' | '\r' => return Err(unfinished()),
                '\\' if !raw => text.push(self.escape(at)?),
                end if end == quote => return Ok(Word::Text(text)),
                other => text.push(other),
            }
        }
    }

    /// The character for which an escape stands; its backslash is taken already.
    fn escape(&mut self, column: u32) -> Result<char, CompileError> {
        let unknown = || {
            let hint = "such as \\n, \\t, \\\", \\\\, \\x41, \\u00e9; for a regular expression write r'...'";
            CompileError::new(column, "is no escape", hint)
        };
        let letter = self.next().ok_or_else(unknown)?;
        let (digits, radix, first) = match letter {
            'a' => return Ok('\u{7}'),
            'b' => return Ok('\u{8}'),
            'f' => return Ok('\u{c}'),
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'v' => return Ok('\u{b}'),
            '\\' | '?' | '"' | '\'' | '`' => return Ok(letter),
            'x' | 'X' => (2, 16, None),
            'u' => (4, 16, None),
            'U' => (8, 16, None),
            '0'..='3' => (2, 8, letter.to_digit(8)),
            _ => return Err(unknown()),
        };
        let mut code = first.unwrap_or(0);
        for _ in 0..digits {
            let digit = self.next().and_then(|character| character.to_digit(radix)).ok_or_else(unknown)?;
            code = code.checked_mul(radix).and_then(|code| code.checked_add(digit)).ok_or_else(unknown)?;
        }
        char::from_u32(code).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Vec<Word> {
        let mut words: Vec<Word> = words(source).unwrap().into_iter().map(|token| token.word).collect();
        assert_eq!(words.pop(), Some(Word::End));
        words
    }

    fn column_of_error(source: &str) -> u32 {
        words(source).unwrap_err().column
    }

    #[test]
    fn words_know_their_columns() {
        let columns: Vec<u32> = words("é == \"x\" ")
            .map_err(|error| error.column)
            .map_or_else(|column| vec![column], |tokens| tokens.into_iter().map(|token| token.column).collect());
        assert_eq!(columns, [1], "names are ASCII");
        let columns: Vec<u32> = words("a=='é' && b").unwrap().into_iter().map(|token| token.column).collect();
        assert_eq!(columns, [1, 2, 4, 8, 11, 12]);
    }

    #[test]
    fn numbers_are_whole_or_not() {
        assert_eq!(
            read("0x1F 7 1.5 .5 2e3"),
            [Word::Whole(31), Word::Whole(7), Word::Double(1.5), Word::Double(0.5), Word::Double(2000.0)]
        );
        for bad in ["1u", "1x", "0x", "0xg", "1e", "1e999", "99999999999999999999", "1.5f", "1_000"] {
            assert!(words(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_keep_what_their_quotes_and_escapes_say() {
        assert_eq!(
            read(r#"'a"b' "a'b" '\x41\u00e9\n\'\101' r'\d+'"#),
            [
                Word::Text("a\"b".to_owned()),
                Word::Text("a'b".to_owned()),
                Word::Text("A\u{e9}\n'A".to_owned()),
                Word::Text("\\d+".to_owned()),
            ]
        );
        for bad in ["'", "'a", "\"a'", r"'\q'", r"'\ud800'", r"'\x4'", "'a\nb'", "'''a'''", "b'a'", r"'\"] {
            assert!(words(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_sign_of_another_language_says_what_to_write() {
        for (source, column) in [("a = 1", 3), ("a & b", 3), ("a | b", 3), ("a ; b", 3), ("`a`", 1), ("a # b", 3)] {
            assert_eq!(column_of_error(source), column, "{source}");
        }
        assert_eq!(read("a // = ; \n b"), [Word::Name("a".to_owned()), Word::Name("b".to_owned())]);
    }
}
