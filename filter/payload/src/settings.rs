//! What a policy says about the payload rules.

use crate::rules::Family;

/// How strictly requests are judged.
#[derive(Debug, Clone)]
pub struct Settings {
    /// 1 is for everyone; 2 and 3 add rules that need exclusions where users write freely.
    pub level: u8,
    /// A family whose evidence reaches this many points makes the request an attack.
    pub threshold: u16,
    /// Families that are not judged.
    pub without: Vec<Family>,
    /// Judge the head of the request too: methods, content types, framing.
    pub protocol: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { level: 1, threshold: 5, without: Vec::new(), protocol: true }
    }
}
