//! Checks that need more than a pattern: counting, parsing numbers, resolving names.

mod calls;
mod hosts;
mod paths;

use crate::normalise::Trace;
use crate::rules::id;
use crate::scanner::Evidence;

/// Runs the checks whose bytes the value has.
pub fn judge(text: &[u8], kinds: u16, trace: Trace, evidence: &mut Evidence<'_>) {
    if trace.nul {
        evidence.add(id::PROTOCOL_NUL_BYTE, b"");
    }
    if trace.unfinished {
        evidence.add(id::PROTOCOL_ENCODING_UNFINISHED, b"");
    } else if trace.depth >= 4 {
        evidence.add(id::PROTOCOL_ENCODING_DEPTH, b"");
    }
    if trace.overlong {
        evidence.add(id::TRAVERSAL_OVERLONG_UTF8, b"");
    }
    if kinds & crate::mask::SHELL != 0 {
        calls::judge(text, evidence);
    }
    if kinds & (crate::mask::DOT | crate::mask::SLASH) != 0 {
        paths::judge(text, evidence);
    }
    if kinds & crate::mask::SLASH != 0 {
        hosts::judge(text, evidence);
    }
}
