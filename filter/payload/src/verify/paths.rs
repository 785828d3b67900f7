//! Steps out of a directory: `../` in every spelling.

use crate::bytes::{at, contains, is_blank, part, rest};
use crate::rules::id;
use crate::scanner::Evidence;

/// Counts the steps that a value goes up.
pub fn judge(text: &[u8], evidence: &mut Evidence<'_>) {
    // Nearly all values have no two dots in a row.
    if !text.contains(&b'/') && !text.contains(&b'\\') && !contains(text, b"..") && !contains(text, b"0x") {
        return;
    }
    let mut dots = text.iter().enumerate().filter(|&(_, &b)| b == b'.').map(|(i, _)| i);
    let dotted = dots.any(|i| at(text, i + 1) == b'.' || (i > 0 && matches!(at(text, i - 1), b'/' | b'\\')));
    if !dotted && !contains(text, b"0x") {
        return;
    }
    let (mut steps, mut dots, mut mixed, mut first) = (0u32, 0u32, 0u32, None);
    let mut i = 0;
    while i < text.len() {
        let (run, length) = dots_at(text, i);
        if run == 0 {
            i += 1;
            continue;
        }
        let (slash, slash_length) = slash_at(text, i + length);
        let (before, _) = if i == 0 { (true, 0) } else { (ends_with_slash(part(text, 0, i)), 0) };
        if run == 2 && (slash || (before && i > 0 && i + length >= text.len())) {
            // `a../` is a step as well: servers that cut at the first dot take it for one.
            steps += 1;
            first.get_or_insert(i);
            mixed += u32::from(slash_length > 1 || at(text, i + length) == b'\\' || length > 2);
        } else if (run > 2 && before && (slash || (run > 3 && i > 0))) || run > 12 {
            dots += 1;
            first.get_or_insert(i);
        }
        i += length + slash_length.max(1);
    }
    // `/././/./`: steps that lead nowhere, several of them.
    let idle =
        text.windows(3).filter(|w| matches!(w, [b'/', b'.', b'/'] | [b'/', b'/', b'.'] | [b'\\', b'.', b'\\'])).count();
    if idle >= 3 && !text.iter().any(|&b| is_blank(b)) {
        evidence.add(id::TRAVERSAL_DOTS, text);
    }
    let Some(first) = first else { return };
    let excerpt = rest(text, first);
    // In running text one step is a relative path that someone writes about.
    let prose = text.iter().filter(|&&b| is_blank(b)).count() > 2;
    if steps >= 2 && (!prose || steps >= 8 || (steps >= 3 && text.len() < 200)) {
        evidence.add(id::TRAVERSAL_STEPS, excerpt);
    } else if steps >= 1 && !prose {
        evidence.add(id::TRAVERSAL_STEP, excerpt);
    } else if steps >= 2 {
        evidence.add(id::TRAVERSAL_STEPS_IN_TEXT, excerpt);
    }
    if dots >= 1 && !prose {
        evidence.add(id::TRAVERSAL_DOTS, excerpt);
    }
    if mixed >= 1 && !prose && steps >= 1 {
        evidence.add(id::TRAVERSAL_MIXED, excerpt);
    }
}

/// How many dots stand here, in whatever spelling, and the bytes they take.
fn dots_at(text: &[u8], start: usize) -> (u32, usize) {
    let (mut count, mut i) = (0, start);
    loop {
        if at(text, i) == b'.' {
            i += 1;
        } else if part(text, i, i + 4) == b"0x2e" {
            i += 4;
        } else if count > 0 && part(text, i, i + 3) == b"x2e" {
            i += 3;
        } else if count > 0 && matches!(at(text, i), b'^' | b'\'' | b'"') && at(text, i + 1) == b'.' {
            i += 1;
            continue;
        } else {
            return (count, i - start);
        }
        count += 1;
    }
}

fn slash_at(text: &[u8], i: usize) -> (bool, usize) {
    match at(text, i) {
        b'/' | b'\\' => (true, 1),
        b'0' if matches!(part(text, i, i + 4), b"0x2f" | b"0x5c") => (true, 4),
        b'x' if matches!(part(text, i, i + 3), b"x2f" | b"x5c") => (true, 3),
        b';' if matches!(at(text, i + 1), b'/' | b'\\' | b'.') => (true, 1 + usize::from(at(text, i + 1) != b'.')),
        _ => (false, 0),
    }
}

fn ends_with_slash(text: &[u8]) -> bool {
    matches!(text.last(), Some(b'/' | b'\\' | b'=' | b':' | b'"' | b'\''))
        || text.ends_with(b"0x2f")
        || text.ends_with(b"0x5c")
}
