//! A schema applied to a document.

use std::collections::HashMap;

use super::{ArrayRules, Mismatch, NumberRules, ObjectRules, Schema, SchemaId, SchemaSet, StringRules, types};
use crate::input::json::{Document, Node};

/// Schemas that are asked inside each other, by nesting and by `$ref` together. Beyond it a document is refused: the stack is
/// finite.
const MAX_NESTED: usize = 400;

/// See [`SchemaSet::check`].
pub fn check(set: &SchemaSet, schema: SchemaId, document: &Document<'_>) -> Result<Vec<u32>, Mismatch> {
    let (typed, _) = counted(set, schema, document);
    typed
}

/// The same, with how many schemas were asked about how many values.
pub fn counted(set: &SchemaSet, schema: SchemaId, document: &Document<'_>) -> (Result<Vec<u32>, Mismatch>, u64) {
    let mut run = Run {
        set,
        document,
        typed: Vec::new(),
        known: HashMap::new(),
        nested: 0,
        steps: 0,
        is_exhausted: false,
        failed: (0, "false"),
    };
    let holds = run.holds(schema, 0);
    let (node, keyword) = if run.is_exhausted { (0, "$ref") } else { run.failed };
    let steps = run.steps;
    if holds && !run.is_exhausted {
        let mut typed = run.typed;
        typed.sort_unstable();
        typed.dedup();
        return (Ok(typed), steps);
    }
    (Err(Mismatch { pointer: pointer(set, document, node), keyword }), steps)
}

/// The way to a node.
fn pointer(set: &SchemaSet, document: &Document<'_>, node: u32) -> String {
    let mut pointer = String::new();
    let mut at = 0;
    while at < node {
        let step = match document.node(at) {
            Node::Array(_) => {
                let found = document.elements(at).enumerate().find(|(_, element)| node < document.behind(*element));
                found.map(|(index, element)| (index.to_string(), element))
            }
            Node::Object(_) => {
                let found = document.members(at).find(|(_, value)| node < document.behind(*value));
                found.map(|(name, value)| {
                    let text = document.name(name);
                    let is_known = set.names.binary_search_by(|known| (**known).cmp(text)).is_ok();
                    let text = if is_known { text.replace('~', "~0").replace('/', "~1") } else { "*".to_owned() };
                    // The name itself counts as its member.
                    (text, value.min(node))
                })
            }
            _ => None,
        };
        let Some((step, next)) = step else { break };
        pointer.push('/');
        pointer.push_str(&step);
        at = next;
    }
    pointer
}

struct Run<'s, 'd> {
    set: &'s SchemaSet,
    document: &'d Document<'d>,
    /// Strings of a type that leaves no room for anything else.
    typed: Vec<u32>,
    /// What is known about targets of `$ref` and values.
    known: HashMap<(SchemaId, u32), bool>,
    nested: usize,
    steps: u64,
    is_exhausted: bool,
    failed: (u32, &'static str),
}

impl Run<'_, '_> {
    fn holds(&mut self, id: SchemaId, node: u32) -> bool {
        let Some(schema) = self.set.get(id) else { return self.fail(node, "$ref") };
        if schema.is_target
            && let Some(known) = self.known.get(&(id, node))
        {
            return if *known { true } else { self.fail(node, "$ref") };
        }
        if self.nested >= MAX_NESTED {
            self.is_exhausted = true;
        }
        if self.is_exhausted {
            return false;
        }
        self.nested += 1;
        self.steps += 1;
        let holds = self.asserts(schema, node) && self.applies(schema, node);
        self.nested -= 1;
        if schema.is_target {
            self.known.insert((id, node), holds);
        }
        holds
    }

    fn fail(&mut self, node: u32, keyword: &'static str) -> bool {
        self.failed = (node, keyword);
        false
    }

    /// What the schema itself says about the value.
    fn asserts(&mut self, schema: &Schema, node: u32) -> bool {
        if schema.is_never {
            return self.fail(node, "false");
        }
        let value = self.document.node(node);
        if schema.types != 0 {
            let of_value = match value {
                Node::Null => types::NULL,
                Node::Bool(_) => types::BOOLEAN,
                Node::Number(number) if self.document.number(number).is_integer() => types::INTEGER | types::NUMBER,
                Node::Number(_) => types::NUMBER,
                Node::String(_) => types::STRING,
                Node::Array(_) => types::ARRAY,
                Node::Object(_) => types::OBJECT,
            };
            if schema.types & of_value == 0 {
                return self.fail(node, "type");
            }
        }
        let mut is_typed = false;
        if schema.choices.is_some() || schema.constant.is_some() {
            let mut bytes = Vec::new();
            self.document.write(node, &mut bytes);
            if schema.choices.as_ref().is_some_and(|choices| choices.binary_search(&bytes).is_err()) {
                return self.fail(node, "enum");
            }
            if schema.constant.as_ref().is_some_and(|constant| *constant != bytes) {
                return self.fail(node, "const");
            }
            is_typed = true;
        }
        match value {
            Node::Number(number) => match &schema.number {
                Some(rules) => self.number(rules, number, node),
                None => true,
            },
            Node::String(text) => {
                if let Some(rules) = &schema.string {
                    if !self.string(rules, self.document.text(text), node) {
                        return false;
                    }
                    is_typed |= rules.format.is_some_and(super::Format::is_typed);
                }
                if is_typed {
                    self.typed.push(node);
                }
                true
            }
            Node::Array(inside) => match &schema.array {
                Some(rules) => self.array(rules, inside.count as usize, node),
                None => true,
            },
            Node::Object(inside) => match &schema.object {
                Some(rules) => self.object(rules, inside.count as usize, node),
                None => true,
            },
            Node::Null | Node::Bool(_) => true,
        }
    }

    /// What other schemas say about the same value.
    fn applies(&mut self, schema: &Schema, node: u32) -> bool {
        if schema.reference.is_some_and(|target| !self.holds(target, node)) {
            return false;
        }
        if !schema.all.iter().all(|part| self.holds(*part, node)) {
            return false;
        }
        if let Some(any) = &schema.any
            && !any.iter().any(|part| self.tries(*part, node))
        {
            return self.fail(node, "anyOf");
        }
        if let Some(one) = &schema.one {
            let mut found = 0;
            for part in one {
                found += usize::from(self.tries(*part, node));
                if found > 1 {
                    break;
                }
            }
            if found != 1 {
                return self.fail(node, "oneOf");
            }
        }
        if let Some(not) = schema.not {
            let marked = self.typed.len();
            let holds = self.holds(not, node);
            self.typed.truncate(marked);
            if holds {
                return self.fail(node, "not");
            }
        }
        match &schema.condition {
            Some(condition) => {
                let chosen = match condition.when.is_some_and(|when| self.tries(when, node)) {
                    true => condition.then,
                    false => condition.otherwise,
                };
                chosen.is_none_or(|chosen| self.holds(chosen, node))
            }
            None => true,
        }
    }

    /// Whether a schema holds that need not.
    fn tries(&mut self, id: SchemaId, node: u32) -> bool {
        let marked = self.typed.len();
        let holds = self.holds(id, node);
        if !holds {
            self.typed.truncate(marked);
        }
        holds
    }

    fn number(&mut self, rules: &NumberRules, number: u32, node: u32) -> bool {
        let number = self.document.number(number);
        let keyword = if rules.minimum.is_some_and(|least| number < least) {
            "minimum"
        } else if rules.exclusive_minimum.is_some_and(|below| number <= below) {
            "exclusiveMinimum"
        } else if rules.maximum.is_some_and(|most| number > most) {
            "maximum"
        } else if rules.exclusive_maximum.is_some_and(|above| number >= above) {
            "exclusiveMaximum"
        } else if rules.multiple_of.is_some_and(|divisor| !number.is_multiple_of(&divisor)) {
            "multipleOf"
        } else if rules.format.is_some_and(|format| !format.takes_number(&number)) {
            "format"
        } else {
            return true;
        };
        self.fail(node, keyword)
    }

    fn string(&mut self, rules: &StringRules, text: &str, node: u32) -> bool {
        // A text has at most as many characters as bytes, so that most are not counted.
        let counts = rules.min > 0 || rules.max.is_some_and(|max| text.len() > max);
        let length = if counts { text.chars().count() } else { 0 };
        let keyword = if length < rules.min {
            "minLength"
        } else if rules.max.is_some_and(|max| length > max) {
            "maxLength"
        } else if rules.format.is_some_and(|format| !format.takes(text)) {
            "format"
        } else if rules.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text.as_bytes())) {
            "pattern"
        } else {
            return true;
        };
        self.fail(node, keyword)
    }

    fn array(&mut self, rules: &ArrayRules, count: usize, node: u32) -> bool {
        if count < rules.min {
            return self.fail(node, "minItems");
        }
        if rules.max.is_some_and(|max| count > max) {
            return self.fail(node, "maxItems");
        }
        let document = self.document;
        if rules.is_unique && count > 1 {
            let mut all = Vec::new();
            let mut ends = Vec::with_capacity(count);
            for element in document.elements(node) {
                let begin = all.len();
                document.write(element, &mut all);
                ends.push(begin..all.len());
            }
            let mut values: Vec<&[u8]> = ends.into_iter().map(|range| all.get(range).unwrap_or_default()).collect();
            values.sort_unstable();
            if values.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
                return self.fail(node, "uniqueItems");
            }
        }
        let mut contained = 0;
        for (index, element) in document.elements(node).enumerate() {
            if let Some(schema) = rules.prefix.get(index).copied().or(rules.items)
                && !self.holds(schema, element)
            {
                return false;
            }
            if let Some(contains) = &rules.contains {
                contained += usize::from(self.tries(contains.schema, element));
            }
        }
        match &rules.contains {
            Some(contains) if contained < contains.min => {
                self.fail(node, if contains.min == 1 { "contains" } else { "minContains" })
            }
            Some(contains) if contains.max.is_some_and(|max| contained > max) => self.fail(node, "maxContains"),
            _ => true,
        }
    }

    fn object(&mut self, rules: &ObjectRules, count: usize, node: u32) -> bool {
        if count < rules.min {
            return self.fail(node, "minProperties");
        }
        if rules.max.is_some_and(|max| count > max) {
            return self.fail(node, "maxProperties");
        }
        let document = self.document;
        let mut required = 0;
        for (name_node, value) in document.members(node) {
            let text = document.name(name_node);
            if rules.property_names.is_some_and(|schema| !self.holds(schema, name_node)) {
                return false;
            }
            let found = rules.names.binary_search_by(|(known, _)| (**known).cmp(text)).ok();
            let name = found.and_then(|index| rules.names.get(index)).map(|(_, name)| name);
            required += usize::from(name.is_some_and(|name| name.is_required));
            let declared = name.and_then(|name| name.schema);
            let mut is_known = declared.is_some();
            if declared.is_some_and(|schema| !self.holds(schema, value)) {
                return false;
            }
            for (pattern, schema) in &rules.patterns {
                if pattern.is_match(text.as_bytes()) {
                    is_known = true;
                    if !self.holds(*schema, value) {
                        return false;
                    }
                }
            }
            if !is_known
                && let Some(additional) = rules.additional
                && !self.holds(additional, value)
            {
                // `false` is what is written there mostly.
                return if self.failed.1 == "false" { self.fail(value, "additionalProperties") } else { false };
            }
        }
        if required < rules.required {
            return self.fail(node, "required");
        }
        let has = |wanted: &str| document.members(node).any(|(name, _)| document.name(name) == wanted);
        for (name, needed) in &rules.dependent_required {
            if has(name) && !needed.iter().all(|needed| has(needed)) {
                return self.fail(node, "dependentRequired");
            }
        }
        for (name, schema) in &rules.dependent_schemas {
            if has(name) && !self.holds(*schema, node) {
                return false;
            }
        }
        true
    }
}
