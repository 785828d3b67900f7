//! `payload_rules`: what an operator looks for, made ready for the scanner.

use std::rc::Rc;

use portcullis_payload::own::{
    Attack, Condition, MOST_BYTES, MOST_CONDITIONS, MOST_RULES, MOST_TRANSFORMATIONS, Operator, OwnRules, Pattern,
    Rule, Target,
};
use portcullis_payload::{Family, RuleId};

use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::{Config, DetectWord, OwnConditionSection, OwnRuleSection};

/// Compiles all rules, in the order of their names.
pub fn compile(config: &Config, problems: &mut Problems) -> Rc<OwnRules> {
    let sections = &config.payload_rules;
    let at = "payload_rules";
    if sections.len() > MOST_RULES {
        problems.add(at, format!("has {} rules; {MOST_RULES} are the most", sections.len()));
        return Rc::default();
    }
    let mut bytes = 0;
    let rules = sections
        .iter()
        .filter_map(|(name, section)| rule(&member_path(at, name), name, section, &mut bytes, problems))
        .collect();
    if bytes > MOST_BYTES {
        problems.add(at, format!("has {bytes} bytes of patterns and words; {MOST_BYTES} are the most"));
        return Rc::default();
    }
    match OwnRules::new(rules) {
        Some(rules) => Rc::new(rules),
        None => {
            problems.add(at, "has more words than can be searched for at once");
            Rc::default()
        }
    }
}

fn rule(at: &str, name: &str, section: &OwnRuleSection, bytes: &mut usize, problems: &mut Problems) -> Option<Rule> {
    let before = problems.len();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        let hint = "1 to 64 small letters, digits, `-` and `_`: it is a label of a counter";
        problems.add_with_hint(at, "is no name for a payload rule", hint);
    } else if RuleId::all().any(|rule| rule.as_str() == name) {
        problems.add_with_hint(
            at,
            "is the name of a built-in rule",
            "exceptions and counters tell rules by their names",
        );
    }
    let family = Family::from_word(&section.family);
    if family.is_none() {
        let known = Family::ALL.into_iter().map(Family::as_str);
        problems.add_unknown_name(member_path(at, "family"), "family", &section.family, known);
    }
    let weight = section.weight.map(|weight| u8::try_from(weight).ok().filter(|points| (1..=100).contains(points)));
    if weight == Some(None) {
        let problem = format!("{} is no number of points from 1 to 100", section.weight.unwrap_or(0));
        problems.add_with_hint(member_path(at, "weight"), problem, "leave it out for a rule that refuses on its own");
    }
    let mut conditions = Vec::new();
    let is_empty = section.only == EMPTY;
    if section.all.is_empty() {
        conditions.extend(condition(at, &section.only, bytes, problems));
    } else if !is_empty {
        let hint = "move what stands beside it into `all`";
        problems.add_with_hint(member_path(at, "all"), "stands beside a condition of the rule itself", hint);
    }
    for (index, section) in section.all.iter().enumerate() {
        conditions.extend(condition(&format!("{}[{index}]", member_path(at, "all")), section, bytes, problems));
    }
    if section.all.len() > MOST_CONDITIONS {
        let problem = format!("has {} conditions; {MOST_CONDITIONS} are the most", section.all.len());
        problems.add(member_path(at, "all"), problem);
    }
    if problems.len() > before {
        return None;
    }
    Some(Rule {
        name: name.to_owned(),
        family: family?,
        weight: weight.flatten(),
        message: section.message.clone().unwrap_or_default(),
        tags: section.tags.clone(),
        conditions,
    })
}

const EMPTY: OwnConditionSection = OwnConditionSection {
    targets: Vec::new(),
    except_targets: Vec::new(),
    transform: Vec::new(),
    regex: None,
    contains: Vec::new(),
    equals: Vec::new(),
    begins_with: Vec::new(),
    ends_with: Vec::new(),
    within: None,
    phrases: Vec::new(),
    detect: None,
    not: false,
};

fn condition(at: &str, section: &OwnConditionSection, bytes: &mut usize, problems: &mut Problems) -> Option<Condition> {
    let before = problems.len();
    if section.targets.is_empty() {
        let hint = "name what is looked at, such as `targets: [args]`";
        problems.add_with_hint(member_path(at, "targets"), "is empty", hint);
    }
    let targets = targets(&member_path(at, "targets"), &section.targets, problems);
    let except = self::targets(&member_path(at, "except_targets"), &section.except_targets, problems);
    if section.transform.len() > MOST_TRANSFORMATIONS {
        let problem = format!("has {} steps; {MOST_TRANSFORMATIONS} are the most", section.transform.len());
        problems.add(member_path(at, "transform"), problem);
    }
    let transform = section.transform.clone();
    let mut operators = Vec::new();
    let texts = |list: &[String]| -> Vec<Vec<u8>> { list.iter().map(|text| text.as_bytes().to_vec()).collect() };
    if let Some(source) = &section.regex {
        *bytes += source.len();
        match Pattern::parse(source) {
            Ok(pattern) => operators.push(("regex", Operator::Regex(Box::new(pattern)))),
            Err(error) => {
                let hint = "the syntax is that of RE2: linear time, no look-around, no back-references";
                let problem = format!("is no regular expression that can be used: {error}");
                problems.add_with_hint(member_path(at, "regex"), problem, hint);
                return None;
            }
        }
    }
    let lists: [List<'_>; 5] = [
        ("contains", &section.contains, Operator::Contains),
        ("equals", &section.equals, Operator::Equals),
        ("begins_with", &section.begins_with, Operator::BeginsWith),
        ("ends_with", &section.ends_with, Operator::EndsWith),
        ("phrases", &section.phrases, Operator::Phrases),
    ];
    for (word, list, operator) in lists {
        if !list.is_empty() {
            *bytes += list.iter().map(String::len).sum::<usize>();
            operators.push((word, operator(texts(list))));
        }
    }
    if let Some(text) = &section.within {
        *bytes += text.len();
        operators.push(("within", Operator::Within(text.as_bytes().to_vec())));
    }
    if let Some(attack) = section.detect {
        let attack = match attack {
            DetectWord::Sqli => Attack::Sqli,
            DetectWord::Xss => Attack::Xss,
        };
        operators.push(("detect", Operator::Detect(attack)));
    }
    if operators.len() > 1 {
        let words: Vec<&str> = operators.iter().map(|(word, _)| *word).collect();
        let hint = "write one condition for each, under `all`";
        problems.add_with_hint(at, format!("has {} operators: {}", words.len(), words.join(", ")), hint);
    }
    let Some((_, operator)) = operators.pop() else {
        let hint = "one of `regex`, `contains`, `equals`, `begins_with`, `ends_with`, `within`, `phrases`, `detect`";
        problems.add_with_hint(at, "has no operator", hint);
        return None;
    };
    (problems.len() == before).then_some(Condition { targets, except, transform, operator, negated: section.not })
}

/// A field of texts, what is written there, and the operator it makes.
type List<'a> = (&'a str, &'a [String], fn(Vec<Vec<u8>>) -> Operator);

fn targets(at: &str, names: &[String], problems: &mut Problems) -> Vec<Target> {
    let mut found = Vec::new();
    let known: Vec<String> = Target::words().collect();
    for (index, name) in names.iter().enumerate() {
        match Target::parse(name) {
            Some(target) => found.push(target),
            None => {
                let known = known.iter().map(String::as_str);
                problems.add_unknown_name(format!("{at}[{index}]"), "target", name, known);
            }
        }
    }
    found
}
