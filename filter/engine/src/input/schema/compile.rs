//! Schemas as they are written, compiled, with every mistake reported.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::Value;

use super::members::{Keywords, pattern, words};
use super::{ArrayRules, Condition, Contains, Name, ObjectRules, ScalarTypes, Schema, SchemaId, SchemaSet};
use crate::config::Problems;
use crate::config::document::{kind, member_path};

/// The beginning of a `$ref` to a schema that the configuration names.
const NAMED: &str = "#/schemas/";

/// Schemas about the same value, each led to by the one before.
const LONGEST_CHAIN: usize = 40;

/// Compiles the schemas of a configuration into one set.
#[derive(Debug)]
pub struct Compiler<'a> {
    /// `schemas` of the configuration.
    named: &'a BTreeMap<String, Value>,
    set: SchemaSet,
    /// Where each schema of the set is written.
    places: Vec<String>,
    /// The schemas that are led to by a `$ref` or from outside, by their place.
    targets: HashMap<String, SchemaId>,
    /// Those that are not compiled yet.
    pending: VecDeque<(SchemaId, Written<'a>)>,
}

/// A schema as it is written.
#[derive(Debug, Clone)]
pub(super) struct Written<'a> {
    pub value: &'a Value,
    /// Its place in the configuration.
    pub at: String,
    /// The document that `#` stands for.
    root: &'a Value,
    root_at: String,
}

impl<'a> Written<'a> {
    fn member(&self, name: &str, value: &'a Value) -> Self {
        Self { value, at: member_path(&self.at, name), root: self.root, root_at: self.root_at.clone() }
    }

    fn element(&self, index: usize, value: &'a Value) -> Self {
        Self { value, at: format!("{}[{index}]", self.at), root: self.root, root_at: self.root_at.clone() }
    }
}

impl<'a> Compiler<'a> {
    /// A compiler for schemas that may refer to these named ones.
    pub fn new(named: &'a BTreeMap<String, Value>) -> Self {
        Self { named, set: SchemaSet::default(), places: Vec::new(), targets: HashMap::new(), pending: VecDeque::new() }
    }

    /// Compiles every named schema, so that a mistake in one that nobody uses is found too.
    pub fn compile_named(&mut self, problems: &mut Problems) {
        for (name, value) in self.named {
            self.compile(value, member_path("schemas", name), problems);
        }
    }

    /// Compiles what a section says at `at`: a schema, or the name of one.
    pub fn compile(&mut self, value: &'a Value, at: String, problems: &mut Problems) -> Option<SchemaId> {
        let before = problems.len();
        let id = match value {
            Value::String(name) => match self.named.get(name) {
                Some(value) => {
                    let at = member_path("schemas", name);
                    self.target(Written { value, at: at.clone(), root: value, root_at: at })
                }
                None => {
                    problems.add_unknown_name(at, "schema", name, self.named.keys().map(String::as_str));
                    return None;
                }
            },
            value => self.target(Written { value, at: at.clone(), root: value, root_at: at }),
        };
        while let Some((id, written)) = self.pending.pop_front() {
            let schema = self.schema(&written, problems);
            if let Some(slot) = self.set.schemas.get_mut(id.0 as usize) {
                *slot = Schema { is_target: true, ..schema };
            }
        }
        (problems.len() == before).then_some(id)
    }

    /// See [`SchemaSet::scalar_types`]; of a schema that is compiled.
    pub fn scalar_types(&self, id: SchemaId) -> Option<ScalarTypes> {
        self.set.scalar_types(id)
    }

    /// The schema of an array's elements.
    pub fn items(&self, id: SchemaId) -> Option<SchemaId> {
        self.set.items(id)
    }

    /// The set, once all is compiled.
    pub fn finish(mut self, problems: &mut Problems) -> SchemaSet {
        self.check_chains(problems);
        self.set.names.sort_unstable();
        self.set.names.dedup();
        self.set
    }

    /// The schema at a place, to be compiled if it is not yet.
    fn target(&mut self, written: Written<'a>) -> SchemaId {
        if let Some(id) = self.targets.get(&written.at) {
            return *id;
        }
        let id = self.place(&written.at);
        self.targets.insert(written.at.clone(), id);
        self.pending.push_back((id, written));
        id
    }

    fn place(&mut self, at: &str) -> SchemaId {
        let id = SchemaId(u32::try_from(self.set.schemas.len()).unwrap_or(u32::MAX));
        self.set.schemas.push(Schema::default());
        self.places.push(at.to_owned());
        id
    }

    /// A schema inside of another one.
    fn inner(&mut self, written: &Written<'a>, problems: &mut Problems) -> SchemaId {
        let id = self.place(&written.at);
        let schema = self.schema(written, problems);
        if let Some(slot) = self.set.schemas.get_mut(id.0 as usize) {
            *slot = schema;
        }
        id
    }

    fn schema(&mut self, written: &Written<'a>, problems: &mut Problems) -> Schema {
        let members = match written.value {
            Value::Bool(takes) => return Schema { is_never: !takes, ..Schema::default() },
            Value::Object(members) => members,
            other => {
                let problem = format!("expected a schema, found {}", kind(other));
                problems.add_with_hint(&written.at, problem, "a schema is an object, `true` or `false`");
                return Schema::default();
            }
        };
        let keywords = Keywords { members, written };
        keywords.check_known(problems);
        let mut schema = Schema {
            types: keywords.types(problems),
            choices: keywords.choices(problems),
            constant: members
                .get("const")
                .map(|value| keywords.choice(value, keywords.types(&mut Problems::default()))),
            number: keywords.number(problems).map(Box::new),
            string: keywords.string(problems).map(Box::new),
            ..Schema::default()
        };
        schema.array = self.array(&keywords, problems).map(Box::new);
        schema.object = self.object(&keywords, problems).map(Box::new);
        schema.all = self.list(&keywords, "allOf", problems).unwrap_or_default();
        schema.any = self.list(&keywords, "anyOf", problems);
        schema.one = self.list(&keywords, "oneOf", problems);
        schema.not = self.one(&keywords, "not", problems);
        let when = self.one(&keywords, "if", problems);
        let then = self.one(&keywords, "then", problems);
        let otherwise = self.one(&keywords, "else", problems);
        // Without `if`, the other two mean nothing.
        schema.condition = when.map(|when| Condition { when: Some(when), then, otherwise });
        schema.reference = self.reference(&keywords, problems);
        if let Some(definitions) = keywords.object("$defs", problems) {
            for (name, value) in definitions {
                let at = written.member("$defs", written.value);
                self.target(at.member(name, value));
            }
        }
        schema
    }

    fn one(&mut self, keywords: &Keywords<'a, '_>, keyword: &str, problems: &mut Problems) -> Option<SchemaId> {
        let value = keywords.members.get(keyword)?;
        Some(self.inner(&keywords.written.member(keyword, value), problems))
    }

    fn list(&mut self, keywords: &Keywords<'a, '_>, keyword: &str, problems: &mut Problems) -> Option<Vec<SchemaId>> {
        let value = keywords.members.get(keyword)?;
        let at = keywords.written.member(keyword, value);
        match value {
            Value::Array(parts) if !parts.is_empty() => {
                let parts = parts.iter().enumerate();
                Some(parts.map(|(index, part)| self.inner(&at.element(index, part), problems)).collect())
            }
            _ => {
                problems.add(at.at, "is no list of one schema or more");
                None
            }
        }
    }

    fn reference(&mut self, keywords: &Keywords<'a, '_>, problems: &mut Problems) -> Option<SchemaId> {
        let value = keywords.members.get("$ref")?;
        let at = member_path(&keywords.written.at, "$ref");
        let Some(text) = value.as_str() else {
            problems.add(at, format!("expected text, found {}", kind(value)));
            return None;
        };
        if let Some(rest) = text.strip_prefix(NAMED) {
            let (name, pointer) =
                rest.split_once('/').map_or((rest, ""), |(name, _)| (name, rest.get(name.len()..).unwrap_or_default()));
            let name = unescaped(name);
            if let Some((name, root)) = self.named.get_key_value(&name) {
                let root = Written {
                    value: root,
                    at: member_path("schemas", name),
                    root,
                    root_at: member_path("schemas", name),
                };
                return self.led_to(&root, pointer, text, at, problems);
            }
            if keywords.written.root.get("schemas").is_none() {
                problems.add_unknown_name(at, "schema", &name, self.named.keys().map(String::as_str));
                return None;
            }
        }
        let Written { root, root_at, .. } = keywords.written;
        let root = Written { value: root, at: root_at.clone(), root, root_at: root_at.clone() };
        match text.strip_prefix('#') {
            Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => {
                self.led_to(&root, pointer, text, at, problems)
            }
            Some(anchor) => match anchored(&root, anchor, 0) {
                Some(found) => Some(self.target(found)),
                None => {
                    problems.add(at, format!("no `$anchor: {anchor}`"));
                    None
                }
            },
            None => {
                let hint = "write `#/schemas/NAME` for a schema of this configuration, or `#/$defs/NAME` for one of the same schema";
                problems.add_with_hint(at, format!("{text:?} leads out of the configuration"), hint);
                None
            }
        }
    }

    /// What a JSON pointer leads to.
    fn led_to(
        &mut self,
        root: &Written<'a>,
        pointer: &str,
        text: &str,
        at: String,
        problems: &mut Problems,
    ) -> Option<SchemaId> {
        let mut found = root.clone();
        for step in pointer.split('/').skip(1) {
            let step = unescaped(step);
            let next = match found.value {
                Value::Object(members) => members.get(&step).map(|value| found.member(&step, value)),
                Value::Array(elements) => {
                    let index = step.parse::<usize>().ok();
                    index.and_then(|index| Some(found.element(index, elements.get(index)?)))
                }
                _ => None,
            };
            match next {
                Some(next) => found = next,
                None => {
                    problems.add(at, format!("{text:?} leads nowhere: there is no {step:?}"));
                    return None;
                }
            }
        }
        Some(self.target(found))
    }

    fn array(&mut self, keywords: &Keywords<'a, '_>, problems: &mut Problems) -> Option<ArrayRules> {
        let contains = self.one(keywords, "contains", problems);
        // Without `contains`, the other two mean nothing.
        let min_contains = keywords.count("minContains", problems);
        let max_contains = keywords.count("maxContains", problems);
        let rules = ArrayRules {
            min: keywords.count("minItems", problems).unwrap_or(0),
            max: keywords.count("maxItems", problems),
            is_unique: keywords.flag("uniqueItems", problems),
            prefix: self.list(keywords, "prefixItems", problems).unwrap_or_default(),
            items: self.one(keywords, "items", problems),
            contains: contains.map(|schema| Contains { schema, min: min_contains.unwrap_or(1), max: max_contains }),
        };
        keywords.in_order("minItems", "maxItems", problems);
        keywords.in_order("minContains", "maxContains", problems);
        let says_something = rules.min > 0
            || rules.max.is_some()
            || rules.is_unique
            || !rules.prefix.is_empty()
            || rules.items.is_some()
            || rules.contains.is_some();
        says_something.then_some(rules)
    }

    fn object(&mut self, keywords: &Keywords<'a, '_>, problems: &mut Problems) -> Option<ObjectRules> {
        let mut names: BTreeMap<&str, Name> = BTreeMap::new();
        for (name, value) in keywords.object("properties", problems).into_iter().flatten() {
            let written = keywords.written.member("properties", keywords.written.value);
            let schema = Some(self.inner(&written.member(name, value), problems));
            names.insert(name, Name { schema, is_required: false });
        }
        let required = keywords.words("required", problems);
        for name in &required {
            names.entry(name).or_default().is_required = true;
        }
        let mut patterns = Vec::new();
        for (source, value) in keywords.object("patternProperties", problems).into_iter().flatten() {
            let written = keywords.written.member("patternProperties", keywords.written.value);
            let written = written.member(source, value);
            let schema = self.inner(&written, problems);
            patterns.extend(pattern(source, &written.at, problems).map(|pattern| (pattern, schema)));
        }
        let mut dependent_required = Vec::new();
        for (name, value) in keywords.object("dependentRequired", problems).into_iter().flatten() {
            let at = member_path(&member_path(&keywords.written.at, "dependentRequired"), name);
            let needed = words(value, &at, problems);
            dependent_required.push((name.as_str().into(), needed.into_iter().map(Into::into).collect()));
        }
        let mut dependent_schemas = Vec::new();
        for (name, value) in keywords.object("dependentSchemas", problems).into_iter().flatten() {
            let written = keywords.written.member("dependentSchemas", keywords.written.value);
            let schema = self.inner(&written.member(name, value), problems);
            dependent_schemas.push((name.as_str().into(), schema));
        }
        self.set.names.extend(names.keys().map(|name| Box::from(*name)));
        let rules = ObjectRules {
            min: keywords.count("minProperties", problems).unwrap_or(0),
            max: keywords.count("maxProperties", problems),
            required: names.values().filter(|name| name.is_required).count(),
            names: names.into_iter().map(|(name, rules)| (name.into(), rules)).collect(),
            patterns,
            additional: self.one(keywords, "additionalProperties", problems),
            property_names: self.one(keywords, "propertyNames", problems),
            dependent_required,
            dependent_schemas,
        };
        keywords.in_order("minProperties", "maxProperties", problems);
        let says_something = rules.min > 0
            || rules.max.is_some()
            || !rules.names.is_empty()
            || !rules.patterns.is_empty()
            || rules.additional.is_some()
            || rules.property_names.is_some()
            || !rules.dependent_required.is_empty()
            || !rules.dependent_schemas.is_empty();
        says_something.then_some(rules)
    }

    /// The schemas that a schema asks about the very same value.
    fn same_value(schema: &Schema) -> impl Iterator<Item = SchemaId> + '_ {
        let condition = schema.condition.iter().flat_map(|c| [c.when, c.then, c.otherwise]).flatten();
        let dependent = schema.object.iter().flat_map(|object| object.dependent_schemas.iter().map(|(_, id)| *id));
        let lists = [schema.any.as_deref(), schema.one.as_deref()].into_iter().flatten().flatten().copied();
        schema
            .all
            .iter()
            .copied()
            .chain(lists)
            .chain(schema.not)
            .chain(schema.reference)
            .chain(condition)
            .chain(dependent)
    }

    /// A schema that asks itself about the same value never ends, and a long chain needs much of the stack.
    fn check_chains(&self, problems: &mut Problems) {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            New,
            Open,
            Done(usize),
        }
        let mut states = vec![State::New; self.set.schemas.len()];
        for start in 0..self.set.schemas.len() {
            let mut stack = vec![start];
            while let Some(&index) = stack.last() {
                let Some(schema) = self.set.schemas.get(index) else { break };
                let state = states.get(index).copied().unwrap_or(State::Done(0));
                if let State::Done(_) = state {
                    stack.pop();
                    continue;
                }
                if let Some(state) = states.get_mut(index) {
                    *state = State::Open;
                }
                let mut longest = 0;
                let mut waits = false;
                let mut circle = false;
                for next in Self::same_value(schema) {
                    match states.get(next.0 as usize).copied() {
                        Some(State::New) => {
                            waits = true;
                            stack.push(next.0 as usize);
                        }
                        // What is open is on the way that leads here.
                        Some(State::Open) => circle = true,
                        Some(State::Done(length)) => longest = longest.max(length + 1),
                        _ => {}
                    }
                }
                let place = self.places.get(index).map_or("", String::as_str);
                if circle {
                    let problem = "asks itself about the same value, without end";
                    let hint =
                        "a schema may contain itself in `properties` or `items`, not by `$ref` and `allOf` alone";
                    problems.add_with_hint(place, problem, hint);
                    return;
                }
                if waits {
                    continue;
                }
                if longest > LONGEST_CHAIN {
                    let problem =
                        format!("more than {LONGEST_CHAIN} schemas lead from one to the next for the same value");
                    problems.add_with_hint(place, problem, "join some of them");
                    return;
                }
                if let Some(state) = states.get_mut(index) {
                    *state = State::Done(longest);
                }
                stack.pop();
            }
        }
    }
}

/// The schema with an `$anchor`.
fn anchored<'a>(written: &Written<'a>, anchor: &str, depth: usize) -> Option<Written<'a>> {
    // A configuration is no deeper.
    if depth > 64 {
        return None;
    }
    match written.value {
        Value::Object(members) if members.get("$anchor").and_then(Value::as_str) == Some(anchor) => {
            Some(written.clone())
        }
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "enum" | "const" | "default" | "examples" | "example"))
            .find_map(|(name, value)| anchored(&written.member(name, value), anchor, depth + 1)),
        Value::Array(elements) => {
            let mut elements = elements.iter().enumerate();
            elements.find_map(|(index, value)| anchored(&written.element(index, value), anchor, depth + 1))
        }
        _ => None,
    }
}

/// A step of a JSON pointer in a URI fragment (RFC 6901, 6).
fn unescaped(step: &str) -> String {
    let bytes = crate::http::bytes::unescape(step.as_bytes(), false);
    String::from_utf8_lossy(&bytes).replace("~1", "/").replace("~0", "~")
}
