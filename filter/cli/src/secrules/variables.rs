//! SecLang's variables as targets.

use super::actions::Action;

/// The targets of a rule.
#[derive(Debug, Default)]
pub struct Targets {
    pub targets: Vec<String>,
    pub except: Vec<String>,
    /// Variables without an equal.
    pub without: Vec<String>,
}

/// Reads `ARGS|REQUEST_HEADERS:User-Agent|!ARGS:q`. In phase 1 there is no body yet.
pub fn parse(text: &str, has_body: bool) -> Targets {
    let mut found = Targets::default();
    for variable in text.split(['|', ',']).map(str::trim).filter(|variable| !variable.is_empty()) {
        let (list, name) = match variable.strip_prefix('!') {
            Some(name) => (&mut found.except, name),
            None => (&mut found.targets, variable),
        };
        match targets(name, has_body) {
            Some(made) => list.extend(made),
            None => found.without.push(variable.to_owned()),
        }
    }
    found.targets.dedup();
    found
}

fn targets(variable: &str, has_body: bool) -> Option<Vec<String>> {
    let (collection, name) = match variable.split_once(':') {
        Some((collection, name)) => (collection, Some(name)),
        None => (variable, None),
    };
    let collection = collection.to_ascii_uppercase();
    let all = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    let args = match (collection.as_str(), has_body) {
        ("ARGS", true) => &["query", "form", "multipart"][..],
        ("ARGS", false) | ("ARGS_GET", _) => &["query"][..],
        ("ARGS_POST", true) => &["form", "multipart"][..],
        ("REQUEST_HEADERS", _) => &["header"][..],
        ("REQUEST_COOKIES", _) => &["cookie"][..],
        _ => &[][..],
    };
    if let Some(name) = name {
        return match (collection.as_str(), name) {
            ("XML", "/*") if has_body => all(&["xml"]),
            ("XML", "//@*") if has_body => all(&["xml_attributes"]),
            _ => {
                let name = glob(name)?;
                (!args.is_empty()).then(|| args.iter().map(|word| format!("{word}:{name}")).collect())
            }
        };
    }
    match (collection.as_str(), has_body) {
        ("ARGS", true) => all(&["args"]),
        ("ARGS", false) | ("ARGS_GET", _) => all(&["query"]),
        ("ARGS_POST", true) => all(&["body"]),
        ("ARGS_NAMES", true) => all(&["arg_names"]),
        ("ARGS_NAMES", false) | ("ARGS_GET_NAMES", _) => all(&["query_names"]),
        ("ARGS_POST_NAMES", true) => all(&["body_names"]),
        ("REQUEST_HEADERS", _) => all(&["headers"]),
        ("REQUEST_HEADERS_NAMES", _) => all(&["header_names"]),
        ("REQUEST_COOKIES", _) => all(&["cookies"]),
        ("REQUEST_COOKIES_NAMES", _) => all(&["cookie_names"]),
        ("REQUEST_URI" | "REQUEST_URI_RAW", _) => all(&["uri"]),
        ("REQUEST_FILENAME", _) => all(&["path"]),
        ("QUERY_STRING", _) => all(&["query_string"]),
        ("REQUEST_METHOD", _) => all(&["method"]),
        ("REQUEST_BODY", true) => all(&["raw_body"]),
        ("FILES", true) => all(&["file_names"]),
        _ => None,
    }
}

/// A name as a target has it; of expressions, those that say "contains", "begins with" or "ends with".
fn glob(name: &str) -> Option<String> {
    let name = name.trim_matches('\'');
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"*|\\()[]{}+?^$.'\"".contains(&b))
    };
    let Some(source) = name.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) else {
        return (!name.is_empty() && !name.contains('*') && !name.starts_with('/')).then(|| name.to_owned());
    };
    let (text, begins) = source.strip_prefix('^').map_or((source, false), |text| (text, true));
    let (text, ends) = text.strip_suffix('$').map_or((text, false), |text| (text, true));
    let star = |is_there: bool| if is_there { "" } else { "*" };
    plain(text).then(|| format!("{}{text}{}", star(begins), star(ends)))
}

/// The transformations of a rule, in order.
///
/// # Errors
/// The first that has no equal.
pub fn transformations(actions: &[Action]) -> Result<Vec<&'static str>, String> {
    let mut chain = Vec::new();
    for (_, name) in actions.iter().filter(|(action, _)| action == "t") {
        chain.push(match name.to_ascii_lowercase().as_str() {
            "none" => {
                chain.clear();
                continue;
            }
            "lowercase" => "lowercase",
            "uppercase" => "uppercase",
            "urldecode" => "url_decode",
            "urldecodeuni" => "url_decode_uni",
            "htmlentitydecode" => "html_entity_decode",
            "jsdecode" => "js_decode",
            "cssdecode" => "css_decode",
            "base64decode" => "base64_decode",
            "hexdecode" => "hex_decode",
            "compresswhitespace" => "compress_whitespace",
            "removewhitespace" => "remove_whitespace",
            "removenulls" => "remove_nulls",
            "replacenulls" => "replace_nulls",
            "replacecomments" => "replace_comments",
            "trim" => "trim",
            "normalizepath" | "normalisepath" => "normalise_path",
            "normalizepathwin" | "normalisepathwin" => "normalise_path_win",
            "cmdline" => "cmd_line",
            "utf8tounicode" => "utf8_to_unicode",
            _ => return Err(format!("the transformation {name:?}")),
        });
    }
    Ok(chain)
}
