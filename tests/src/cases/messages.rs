//! The messages of a case, with their templates filled in.

use anyhow::Result;
use portcullis_engine::HeaderChange;

use super::template::Template;
use super::{EndpointAnswer, Request};

/// An answer with its templates filled in.
///
/// # Errors
/// A template that the format does not know.
pub fn filled(answer: &EndpointAnswer, template: &mut Template) -> Result<EndpointAnswer> {
    Ok(match answer {
        EndpointAnswer::Answer { status, headers, body } => {
            EndpointAnswer::Answer { status: *status, headers: headers.clone(), body: template.fill(body)? }
        }
        EndpointAnswer::ByToken(known) => EndpointAnswer::ByToken(
            known.iter().map(|(token, answer)| Ok((token.clone(), template.fill(answer)?))).collect::<Result<_>>()?,
        ),
        other => other.clone(),
    })
}

/// The request's header map as the proxy has it: pseudo-headers, request id, then what the case names.
///
/// # Errors
/// A template or an escape that the format does not know.
pub fn lines(request: &Request, id: u64, template: &mut Template) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut lines = vec![
        (":authority".to_owned(), b"api.example".to_vec()),
        (":method".to_owned(), request.method.clone().into_bytes()),
        (":path".to_owned(), template.bytes(&request.target)?),
        (":scheme".to_owned(), b"https".to_vec()),
        ("x-request-id".to_owned(), format!("case-{id}").into_bytes()),
    ];
    lines.retain(|(name, _)| !request.without.contains(name));
    // The first line under such a name replaces the runner's; a second one is a repetition.
    let mut replaced: Vec<&str> = Vec::new();
    let mut own = Vec::new();
    for (name, value) in &request.headers {
        let value = template.bytes(value)?;
        match lines.iter_mut().find(|(known, _)| known == name && !replaced.contains(&name.as_str())) {
            Some(line) => {
                line.1 = value;
                replaced.push(name);
            }
            None => own.push((template.bytes(name)?, value)),
        }
    }
    Ok(lines.into_iter().map(|(name, value)| (name.into_bytes(), value)).chain(own).collect())
}

/// `lines` after `changes`, as text.
pub(super) fn changed(lines: &[(Vec<u8>, Vec<u8>)], changes: &[HeaderChange]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut lines: Vec<(String, String)> = lines.iter().map(|(name, value)| (text(name), text(value))).collect();
    for change in changes {
        if let HeaderChange::Remove(name) | HeaderChange::Set(name, _) = change {
            lines.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        }
        if let HeaderChange::Set(name, value) | HeaderChange::Add(name, value) = change {
            lines.push((name.clone(), text(value)));
        }
    }
    lines
}
