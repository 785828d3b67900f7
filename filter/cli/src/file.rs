//! Files that the operator names.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::document::Language;

/// The text of a configuration, and its language by its name: JSON for `.json`, YAML for all else.
///
/// # Errors
/// It cannot be read, or is no UTF-8.
pub fn read(path: &Path) -> Result<(String, Language)> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    Ok((text, if is_json { Language::Json } else { Language::Yaml }))
}
