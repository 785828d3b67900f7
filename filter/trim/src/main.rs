//! `portcullis-trim IN OUT NAME...`: copies a WebAssembly module without the exported functions that are named.
//!
//! The proxy-wasm SDK exports a callback for every event that a proxy can have, and a proxy enters the module for each that
//! is exported, though nothing is done there. A callback that is not exported costs nothing.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output, names @ ..] = arguments.as_slice() else {
        return fail("usage: portcullis-trim IN OUT NAME...");
    };
    let module = match std::fs::read(input) {
        Ok(module) => module,
        Err(error) => return fail(&format!("{input}: {error}")),
    };
    let trimmed = match trim(&module, names) {
        Ok(trimmed) => trimmed,
        Err(problem) => return fail(&format!("{input}: {problem}")),
    };
    match std::fs::write(output, trimmed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{output}: {error}")),
    }
}

#[allow(clippy::print_stderr, reason = "a command line tool")]
fn fail(problem: &str) -> ExitCode {
    eprintln!("portcullis-trim: {problem}");
    ExitCode::FAILURE
}

/// Magic and version of a module (WebAssembly core specification, 5.5.16).
const PREAMBLE: &[u8] = b"\0asm\x01\0\0\0";
/// The export section (5.5.10).
const EXPORTS: u8 = 7;

/// The module without the exports `names`. A name that is not exported is an error: it would be a typing error here, or a
/// change of the SDK that someone should look at.
fn trim(module: &[u8], names: &[String]) -> Result<Vec<u8>, String> {
    let mut rest = module.strip_prefix(PREAMBLE).ok_or("is no WebAssembly module")?;
    let mut out = PREAMBLE.to_vec();
    let mut missing: Vec<&String> = names.iter().collect();
    while !rest.is_empty() {
        let id = byte(&mut rest)?;
        let size = number(&mut rest)?;
        let body = take(&mut rest, size)?;
        let body = if id == EXPORTS { exports_without(body, names, &mut missing)? } else { body.to_vec() };
        out.push(id);
        push_number(&mut out, body.len());
        out.extend_from_slice(&body);
    }
    match missing.first() {
        Some(name) => Err(format!("exports no {name:?}")),
        None => Ok(out),
    }
}

fn exports_without(mut body: &[u8], names: &[String], missing: &mut Vec<&String>) -> Result<Vec<u8>, String> {
    let count = number(&mut body)?;
    let mut kept = Vec::new();
    let mut kept_count = 0;
    for _ in 0..count {
        let entry = body;
        let length = number(&mut body)?;
        let name = take(&mut body, length)?;
        let _kind = byte(&mut body)?;
        let _index = number(&mut body)?;
        let entry = entry.get(..entry.len() - body.len()).unwrap_or_default();
        match names.iter().find(|wanted| wanted.as_bytes() == name) {
            Some(cut) => missing.retain(|name| *name != cut),
            None => {
                kept.extend_from_slice(entry);
                kept_count += 1;
            }
        }
    }
    let mut out = Vec::new();
    push_number(&mut out, kept_count);
    out.extend(kept);
    Ok(out)
}

fn byte(rest: &mut &[u8]) -> Result<u8, String> {
    take(rest, 1)?.first().copied().ok_or_else(|| "ends too early".to_owned())
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    let (taken, left) = rest.split_at_checked(length).ok_or("ends too early")?;
    *rest = left;
    Ok(taken)
}

/// An unsigned LEB128 number of 32 bits (5.2.2).
fn number(rest: &mut &[u8]) -> Result<usize, String> {
    let mut value = 0_usize;
    for shift in [0, 7, 14, 21, 28] {
        let byte = byte(rest)?;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("holds a number that is too long".to_owned())
}

fn push_number(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(id: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![id];
        push_number(&mut out, body.len());
        out.extend_from_slice(body);
        out
    }

    fn exports(names: &[&str]) -> Vec<u8> {
        let mut body = Vec::new();
        push_number(&mut body, names.len());
        for (index, name) in names.iter().enumerate() {
            push_number(&mut body, name.len());
            body.extend_from_slice(name.as_bytes());
            body.push(0);
            push_number(&mut body, 1_000 + index);
        }
        section(EXPORTS, &body)
    }

    fn module(names: &[&str]) -> Vec<u8> {
        [PREAMBLE.to_vec(), section(1, &[9; 300]), exports(names), section(10, b"code")].concat()
    }

    #[test]
    fn the_named_exports_go_and_all_else_stays() {
        let trimmed = trim(&module(&["a", "proxy_on_log", "b"]), &["proxy_on_log".to_owned()]).unwrap();
        // The indices of the others stay as they are.
        let expected = [
            PREAMBLE.to_vec(),
            section(1, &[9; 300]),
            {
                let mut body = vec![2];
                for (name, index) in [("a", 1_000), ("b", 1_002)] {
                    push_number(&mut body, name.len());
                    body.extend_from_slice(name.as_bytes());
                    body.push(0);
                    push_number(&mut body, index);
                }
                section(EXPORTS, &body)
            },
            section(10, b"code"),
        ]
        .concat();
        assert_eq!(trimmed, expected);
    }

    #[test]
    fn a_name_that_is_not_exported_is_an_error() {
        assert_eq!(trim(&module(&["a"]), &["b".to_owned()]), Err("exports no \"b\"".to_owned()));
    }

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(trim(b"", &[]).is_err());
        let whole = module(&["a"]);
        for end in PREAMBLE.len() + 1..whole.len() {
            let cut_at_a_section = end == PREAMBLE.len() + 303 || end == whole.len() - 6;
            assert!(cut_at_a_section || trim(&whole[..end], &[]).is_err(), "cut at {end}");
        }
    }
}
