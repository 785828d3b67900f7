//! OpenAPI 3.1, and 3.0 where it says the same in other words: paths, methods, parameters, bodies, security.
//!
//! A description says what a service takes; the rules take that and nothing else. What cannot be checked as it is described is refused,
//! or is said to be unchecked.

mod form;
mod schema;
mod security;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use portcullis_engine::input::MediaRange;
use portcullis_engine::matching::PathPattern;
use serde_json::{Map, Value, json};

use self::schema::{Schemas, resolved};
use super::notes::Notes;
use super::providers::{Providers, plain_name, split_url};
use super::{Options, yaml};
use crate::document::{Lines, Node};

const METHODS: &[&str] = &["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// Whether a document is a description of an API.
pub fn is_openapi(node: &Node) -> bool {
    node.get("openapi").is_some() || node.get("swagger").is_some()
}

/// The text of the configuration.
///
/// # Errors
/// It is of another version.
pub fn convert(node: &Node, options: &Options, providers: &mut Providers, notes: &mut Notes) -> Result<String> {
    let document = node.to_value();
    let version =
        document.get("openapi").map(|version| version.as_str().map_or_else(|| version.to_string(), str::to_owned));
    let version = version.unwrap_or_default();
    let is_old = version == "3.0" || version.starts_with("3.0.");
    if !is_old && version != "3.1" && !version.starts_with("3.1.") {
        bail!("OpenAPI {version:?} is not read\n  hint: write it as 3.0 or 3.1; for Swagger 2.0 there are converters");
    }
    let api = Api { document: &document, lines: node.lines(), base: String::new(), options };
    let base = api.base(notes);
    let mut api = Api { base, ..api };
    let mut schemas = Schemas::new(&document, is_old);
    let mut rules = api.rules(&mut schemas, providers, notes);
    rules.sort_by_key(|rule| variables(&rule.path));
    let mut names = BTreeSet::new();
    for rule in &mut rules {
        rule.name_apart_from(&mut names);
    }
    let schemas = schemas.finish(notes);
    Ok(text(&schemas, providers, &rules, notes))
}

/// A description and where it is written.
struct Api<'a> {
    document: &'a Value,
    lines: Lines,
    /// What stands before every path.
    base: String,
    options: &'a Options,
}

/// A rule for one operation.
struct Rule {
    name: String,
    path: String,
    source: String,
    section: Map<String, Value>,
}

impl Rule {
    fn name_apart_from(&mut self, names: &mut BTreeSet<String>) {
        let plain: String = plain_name(&self.name).chars().take(58).collect();
        let mut name = plain.clone();
        let mut number = 2;
        while !names.insert(name.clone()) {
            name = format!("{plain}-{number}");
            number += 1;
        }
        self.section.insert("name".to_owned(), json!(name));
    }
}

impl Api<'_> {
    /// The path of the servers.
    fn base(&self, notes: &mut Notes) -> String {
        let servers = self.document.get("servers").and_then(Value::as_array).into_iter().flatten();
        let urls: Vec<&str> = servers.filter_map(|server| server.get("url").and_then(Value::as_str)).collect();
        let path = |url: &str| {
            let path = split_url(url).map_or_else(|| url.to_owned(), |(_, path)| path);
            format!("/{}", path.trim_matches('/')).trim_end_matches('/').to_owned()
        };
        let line = self.lines.find("servers");
        let bases: BTreeSet<String> = urls.iter().map(|url| path(url)).collect();
        if bases.len() > 1 {
            let hint = "convert the document once for each of them";
            notes.stricter(line, "servers", "have several paths: that of the first one counts", hint);
        }
        let base = urls.first().map(|url| path(url)).unwrap_or_default();
        if base.contains('{') {
            let hint = "write the path in place of the variable";
            notes.stricter(line, "servers", "the path has a variable: it counts as a segment of any text", hint);
        }
        base
    }

    fn rules(&mut self, schemas: &mut Schemas<'_>, providers: &mut Providers, notes: &mut Notes) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (template, item) in self.document.get("paths").and_then(Value::as_object).into_iter().flatten() {
            let at = format!("paths[{template:?}]");
            let line = self.lines.find(&at);
            if template.starts_with("x-") {
                continue;
            }
            let item = resolved(self.document, item);
            let path = format!("{}{template}", self.base);
            if let Err(error) = PathPattern::parse(&path) {
                let problem = format!("{error}: its requests are refused");
                notes.stricter(line, template, &problem, "write a rule of your own, with `regex`");
                continue;
            }
            if item.get("servers").is_some() {
                notes.stricter(
                    line,
                    template,
                    "has servers of its own: those of the document count",
                    "write a rule of your own",
                );
            }
            for method in METHODS {
                let Some(operation) = item.get(method) else { continue };
                let line = self.lines.find(&format!("{at}.{method}"));
                let word = method.to_ascii_uppercase();
                let what = format!("{word} {template}");
                let mut section = Map::from_iter([("match".to_owned(), json!({"path": path, "methods": [word]}))]);
                let security = operation.get("security").or_else(|| self.document.get("security"));
                match security {
                    Some(security) => section.extend(security::ask(
                        security,
                        self.document,
                        (&what, line),
                        self.options,
                        providers,
                        notes,
                    )),
                    None => {
                        let hint = "add `require` where callers have to identify";
                        notes.note(line, &what, "describes no security: everybody may call", hint);
                        section.insert("allow".to_owned(), json!("public"));
                    }
                }
                let input = self.input(item, operation, (&what, line), schemas, notes);
                section.insert("input".to_owned(), Value::Object(input));
                let name = operation.get("operationId").and_then(Value::as_str);
                let name = name.map_or_else(|| format!("{method}{template}"), str::to_owned);
                rules.push(Rule { name, path: path.clone(), source: format!("line {line}: {what}"), section });
            }
        }
        rules
    }

    fn input(
        &self,
        item: &Value,
        operation: &Value,
        place: (&str, usize),
        schemas: &mut Schemas<'_>,
        notes: &mut Notes,
    ) -> Map<String, Value> {
        let mut input = Map::new();
        // Those of an operation replace those of its path.
        let mut parameters: BTreeMap<(String, String), &Value> = BTreeMap::new();
        for parameter in
            [item, operation].into_iter().flat_map(|of| of.get("parameters").and_then(Value::as_array)).flatten()
        {
            let parameter = resolved(self.document, parameter);
            let text = |member: &str| parameter.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
            parameters.insert((text("in"), text("name")), parameter);
        }
        let mut made = Vec::new();
        for ((kind, name), parameter) in &parameters {
            // These headers have sections of their own there, and here.
            let is_other = ["accept", "content-type", "authorization"].contains(&name.to_ascii_lowercase().as_str());
            if kind == "header" && is_other {
                continue;
            }
            made.push(self.parameter(kind, name, parameter, place, schemas, notes));
        }
        if !made.is_empty() {
            input.insert("parameters".to_owned(), Value::Array(made));
        }
        if let Some(body) = operation.get("requestBody") {
            self.body(resolved(self.document, body), place, &mut input, schemas, notes);
        }
        input
    }

    fn parameter(
        &self,
        kind: &str,
        name: &str,
        parameter: &Value,
        (what, line): (&str, usize),
        schemas: &mut Schemas<'_>,
        notes: &mut Notes,
    ) -> Value {
        let what = format!("{what}, {kind} parameter {name:?}");
        let mut made = Map::from_iter([("in".to_owned(), json!(kind)), ("name".to_owned(), json!(name))]);
        if is_required(parameter, (&what, line), notes) && kind != "path" {
            made.insert("required".to_owned(), json!(true));
        }
        let written = parameter.get("schema").map(|schema| resolved(self.document, schema));
        let types = |schema: &Value, word: &str| match schema.get("type") {
            Some(Value::String(one)) => one == word,
            Some(Value::Array(list)) => list.iter().any(|one| one == word),
            _ => false,
        };
        let is_list = written.is_some_and(|schema| types(schema, "array"));
        let is_object = written.is_some_and(|schema| types(schema, "object"));
        let usual = if matches!(kind, "query" | "cookie") { "form" } else { "simple" };
        let style = parameter.get("style").and_then(Value::as_str).unwrap_or(usual);
        let refused = if parameter.get("content").is_some() {
            Some("has a content type of its own")
        } else if style != usual {
            Some("is written in a style that is not read")
        } else if is_object {
            Some("is an object")
        } else {
            None
        };
        let schema = match (refused, parameter.get("schema")) {
            (Some(why), _) => {
                notes.stricter(
                    line,
                    &what,
                    &format!("{why}: no value of it passes"),
                    "write its `schema` in place of `false`",
                );
                Some(Value::Bool(false))
            }
            (None, Some(schema)) => Some(schemas.convert(schema, &what, notes)),
            (None, None) => None,
        };
        made.extend(schema.map(|schema| ("schema".to_owned(), schema)));
        let is_exploded = parameter.get("explode").and_then(Value::as_bool).unwrap_or(style == "form");
        if is_list && refused.is_none() && style == "form" && !is_exploded {
            made.insert("commas".to_owned(), json!(true));
        }
        Value::Object(made)
    }

    fn body(
        &self,
        body: &Value,
        (what, line): (&str, usize),
        input: &mut Map<String, Value>,
        schemas: &mut Schemas<'_>,
        notes: &mut Notes,
    ) {
        let what = format!("{what}, body");
        let (mut json_types, mut form_types, mut others) = (Vec::new(), Vec::new(), Vec::new());
        let (mut asked, mut form) = (Vec::new(), None);
        let mut takes_all = false;
        for (kind, media) in body.get("content").and_then(Value::as_object).into_iter().flatten() {
            let plain = kind.split(';').next().unwrap_or_default().trim();
            let described = form::Body { document: self.document, kind: plain, media, what: &what, line };
            let made = if form::is_form(plain) { described.form(schemas, notes) } else { None };
            match (MediaRange::parse(plain), made) {
                (Some(range), _) if range.is_json() => {
                    json_types.push(plain.to_owned());
                    let schema = media.get("schema");
                    let schema = schema.map_or(Value::Bool(true), |schema| schemas.convert(schema, &what, notes));
                    if !asked.contains(&schema) {
                        asked.push(schema);
                    }
                }
                (Some(_), Some(made)) if form.as_ref().is_none_or(|form| *form == made) => {
                    form_types.push(plain.to_owned());
                    form = Some(made);
                }
                (Some(_), Some(_)) => {
                    let problem = format!("{plain} has other fields than another form: it is refused");
                    notes.stricter(line, &what, &problem, "give it a rule of its own, matched by a header");
                }
                (Some(_), None) => others.push(plain.to_owned()),
                (None, _) => takes_all = true,
            }
        }
        if is_required(body, (&what, line), notes) {
            input.insert("require_body".to_owned(), json!(true));
        }
        if json_types.is_empty() && form.is_none() {
            let hint = "payload rules look for attacks in it all the same";
            notes.note(line, &what, "is checked by its type and its size alone", hint);
            if !takes_all && !others.is_empty() {
                input.insert("content_types".to_owned(), json!(others));
            }
            return;
        }
        if takes_all || !others.is_empty() {
            let checked = match (json_types.is_empty(), form.is_none()) {
                (false, true) => "JSON",
                (true, _) => "forms",
                (false, false) => "JSON and forms",
            };
            let problem = format!(
                "other types than {checked} are refused, as no rule checks some bodies and takes others unchecked"
            );
            notes.stricter(line, &what, &problem, "give them a rule of their own, matched by a header");
        }
        json_types.extend(form_types);
        input.insert("content_types".to_owned(), json!(json_types));
        match asked.as_slice() {
            [] => {}
            [one] => drop(input.insert("schema".to_owned(), one.clone())),
            several => drop(input.insert("schema".to_owned(), json!({"anyOf": several}))),
        }
        input.extend(form.map(|form| ("form".to_owned(), form)));
    }
}

/// Whether `required` says so. A `yes` of YAML 1.1 is text in 1.2, and was meant.
fn is_required(part: &Value, (what, line): (&str, usize), notes: &mut Notes) -> bool {
    match part.get("required") {
        None => false,
        Some(Value::Bool(required)) => *required,
        Some(other) => {
            let problem = format!("`required` is {other}, neither true nor false: it is required here");
            notes.stricter(line, what, &problem, "write `true` or `false`");
            true
        }
    }
}

/// A text goes before a variable at the same place (OpenAPI 3.1, 4.8.8.2), as the first rule that matches applies.
fn variables(path: &str) -> Vec<bool> {
    path.split('/').map(|segment| segment.starts_with('{')).collect()
}

fn text(schemas: &BTreeMap<String, Value>, providers: &Providers, rules: &[Rule], notes: &Notes) -> String {
    let mut text = yaml::heading("Converted by `portcullis convert` from an OpenAPI document.", notes);
    text.push_str("version: 1\n");
    if !providers.0.is_empty() {
        text.push_str("providers:\n");
        for (name, provider) in &providers.0 {
            text.push_str(&format!(
                "  {}: {}\n",
                yaml::scalar(name),
                yaml::flow(&Value::Object(provider.section.clone()))
            ));
        }
    }
    if !schemas.is_empty() {
        text.push_str("schemas:\n");
        for (name, schema) in schemas {
            text.push_str(&format!("  {}: {}\n", yaml::scalar(name), yaml::flow(schema)));
        }
    }
    text.push_str("# `unknown_parameters: deny` in a rule's `input` refuses what is not described in its query.\n");
    text.push_str("defaults: {unmatched: deny}\n");
    text.push_str(if rules.is_empty() { "rules: []\n" } else { "rules:\n" });
    for rule in rules {
        text.push_str(&format!("# {}\n", yaml::one_line(&rule.source)));
        let mut members: Vec<String> = Vec::new();
        let order = ["name", "match", "allow", "require", "scopes", "input"];
        for name in order {
            members.extend(rule.section.get(name).map(|value| format!("{name}: {}", yaml::flow(value))));
        }
        text.push_str(&format!("- {{{}}}\n", members.join(", ")));
    }
    text
}
