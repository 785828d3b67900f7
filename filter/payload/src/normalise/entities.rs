//! HTML's character references: the numeric ones, and those named ones that stand for what attacks are written in.

use crate::bytes::{at, hex, part, rest};

use super::unicode;

const NAMED: &[(&[u8], &[u8])] = &[
    (b"amp", b"&"),
    (b"apos", b"'"),
    (b"ast", b"*"),
    (b"bsol", b"\\"),
    (b"colon", b":"),
    (b"comma", b","),
    (b"commat", b"@"),
    (b"dollar", b"$"),
    (b"equals", b"="),
    (b"excl", b"!"),
    (b"grave", b"`"),
    (b"gt", b">"),
    (b"hat", b"^"),
    (b"lbrace", b"{"),
    (b"lbrack", b"["),
    (b"lcub", b"{"),
    (b"lowbar", b"_"),
    (b"lpar", b"("),
    (b"lsqb", b"["),
    (b"lt", b"<"),
    (b"nbsp", b" "),
    (b"newline", b"\n"),
    (b"num", b"#"),
    (b"percnt", b"%"),
    (b"period", b"."),
    (b"plus", b"+"),
    (b"quest", b"?"),
    (b"quot", b"\""),
    (b"rbrace", b"}"),
    (b"rbrack", b"]"),
    (b"rcub", b"}"),
    (b"rpar", b")"),
    (b"rsqb", b"]"),
    (b"semi", b";"),
    (b"sol", b"/"),
    (b"tab", b"\t"),
    (b"verbar", b"|"),
    (b"vert", b"|"),
];

/// Decodes the reference that `text` starts with. Gives the bytes used, 0 if it is none.
pub fn decode(text: &[u8], out: &mut Vec<u8>) -> usize {
    if at(text, 1) == b'#' {
        return numeric(text, out);
    }
    let length = rest(text, 1).iter().take(8).take_while(|b| b.is_ascii_alphabetic()).count();
    let mut name = [0; 8];
    for (slot, byte) in name.iter_mut().zip(part(text, 1, 1 + length)) {
        *slot = byte.to_ascii_lowercase();
    }
    let name = part(&name, 0, length);
    let Ok(index) = NAMED.binary_search_by(|(known, _)| (*known).cmp(name)) else { return 0 };
    let Some((_, meaning)) = NAMED.get(index) else { return 0 };
    // Browsers accept these four without the semicolon; in a query that would be the next parameter's name.
    let closed = at(text, 1 + length) == b';';
    let open = matches!(name, b"lt" | b"gt" | b"quot") && at(text, 1 + length) != b'=';
    if !closed && !open {
        return 0;
    }
    out.extend_from_slice(meaning);
    1 + length + usize::from(closed)
}

fn numeric(text: &[u8], out: &mut Vec<u8>) -> usize {
    let hexadecimal = matches!(at(text, 2), b'x' | b'X');
    let start = if hexadecimal { 3 } else { 2 };
    let (mut code, mut i) = (0u32, start);
    while i < start + 10 {
        let byte = at(text, i);
        let digit = if hexadecimal { hex(byte) } else { byte.is_ascii_digit().then(|| byte - b'0') };
        let Some(digit) = digit else { break };
        code = code.saturating_mul(if hexadecimal { 16 } else { 10 }).saturating_add(u32::from(digit));
        i += 1;
    }
    if i == start {
        return 0;
    }
    unicode::push(code, out);
    i + usize::from(at(text, i) == b';')
}
