//! Payload rules: finds attacks in what clients send.
//!
//! Each value is normalised once, searched once for literals, and only where one stands do small checks look closer. What they
//! find is evidence, added up for each family of attacks. Pure: no clock, no I/O, no globals, no unsafe code.
#![forbid(unsafe_code)]

pub mod arguments;
mod base64;
pub mod bytes;
mod clean;
pub mod form_data;
mod html;
mod literals;
mod mask;
pub mod media;
mod normalise;
pub mod own;
pub mod pages;
mod pattern;
mod protocol;
mod rules;
mod scanner;
mod settings;
mod sql;
mod verdict;
mod verify;
mod views;

pub use rules::{Family, RuleId};
pub use scanner::{Inspection, Scanner, Scratch};
pub use settings::{Exception, Settings, plain_name};
pub use verdict::{Finding, FoundBy, LONGEST_NAME, Limit, Place, Source, Verdict};
