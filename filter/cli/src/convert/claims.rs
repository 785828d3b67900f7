//! Conditions on claims, in CEL.

/// A claim by the names on the way to it; `None`: a name that cannot be written.
pub fn claim(names: &[&str]) -> Option<String> {
    let mut text = "jwt".to_owned();
    for name in names {
        let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        match is_plain {
            true => text.push_str(&format!(".{name}")),
            false => text.push_str(&format!("[{}]", quoted(name)?)),
        }
    }
    (!names.is_empty()).then_some(text)
}

/// A text or a list of texts has one of `values`.
pub fn has_one_of(names: &[&str], values: &[String]) -> Option<String> {
    let claim = claim(names)?;
    let values: Option<Vec<String>> = values.iter().map(|value| quoted(value)).collect();
    match values?.as_slice() {
        [] => None,
        [one] => Some(format!("{claim} == {one} || ({one} in {claim} && {})", is_list(&claim))),
        several => {
            let list = several.join(", ");
            Some(format!("{claim} in [{list}] || ({claim}.exists(c, c in [{list}]) && {})", is_list(&claim)))
        }
    }
}

/// A text is this one.
pub fn is(names: &[&str], value: &str) -> Option<String> {
    Some(format!("{} == {}", claim(names)?, quoted(value)?))
}

/// One entry of a list of texts is this one.
pub fn lists(names: &[&str], value: &str) -> Option<String> {
    let claim = claim(names)?;
    Some(format!("{} in {claim} && {}", quoted(value)?, is_list(&claim)))
}

/// A text begins with, ends with or contains this one.
pub fn matches(names: &[&str], function: &str, value: &str) -> Option<String> {
    Some(format!("{}.{function}({})", claim(names)?, quoted(value)?))
}

/// `in` finds the names of an object's members too: no object has a first entry, so there is no answer.
fn is_list(claim: &str) -> String {
    format!("{claim}[0] != null")
}

/// A literal; `None` for what it cannot hold.
fn quoted(text: &str) -> Option<String> {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.chars().all(|c| !c.is_control()).then(|| format!("\"{escaped}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_words_stand_in_brackets() {
        assert_eq!(claim(&["realm_access", "roles"]).unwrap(), "jwt.realm_access.roles");
        assert_eq!(claim(&["https://idp.example/\"plan\""]).unwrap(), r#"jwt["https://idp.example/\"plan\""]"#);
        assert_eq!(claim(&[]), None);
        assert_eq!(claim(&["a\nb"]), None);
    }
}
