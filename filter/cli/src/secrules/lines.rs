//! Directives: lines that a backslash continues, and words that quotes keep together.

/// One directive.
#[derive(Debug, PartialEq, Eq)]
pub struct Directive {
    /// The line on which it begins, from 1.
    pub line: usize,
    /// Its words, without quotes.
    pub words: Vec<String>,
    /// Whether a quote has no end.
    pub is_torn: bool,
}

/// Every directive of a text, in order. A comment ends with its line.
pub fn directives(text: &str) -> Vec<Directive> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut whole = String::new();
        let mut piece = line;
        loop {
            match piece.strip_suffix('\\') {
                Some(start) => whole.push_str(start),
                None => {
                    whole.push_str(piece);
                    break;
                }
            }
            match lines.next() {
                Some((_, next)) => piece = next.trim(),
                None => break,
            }
        }
        let (words, is_torn) = words(&whole);
        found.push(Directive { line: index + 1, words, is_torn });
    }
    found
}

/// Words between blanks; in quotes, a backslash keeps a quote from ending them and stays before all else.
fn words(text: &str) -> (Vec<String>, bool) {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(first) = rest.next() else { return (found, false) };
        let mut word = String::new();
        if first != '"' && first != '\'' {
            word.push(first);
            while let Some(next) = rest.next_if(|c| !c.is_whitespace()) {
                word.push(next);
            }
            found.push(word);
            continue;
        }
        loop {
            match rest.next() {
                None => {
                    found.push(word);
                    return (found, true);
                }
                Some(quote) if quote == first => break,
                Some('\\') => match rest.next_if_eq(&first) {
                    Some(quote) => word.push(quote),
                    None => {
                        word.push('\\');
                        // An escaped backslash does not escape what follows it.
                        word.extend(rest.next_if_eq(&'\\'));
                    }
                },
                Some(other) => word.push(other),
            }
        }
        found.push(word);
    }
}
