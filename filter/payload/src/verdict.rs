//! What was found, where, and what it adds up to.

use std::cmp::Reverse;
use std::rc::Rc;

use crate::own::Label;
use crate::rules::{FAMILIES, Family, RuleId};

/// Where in the request a value stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Place {
    /// A query parameter.
    Query,
    /// A field of a form.
    Form,
    /// A leaf of a JSON document.
    Json,
    /// A cookie.
    Cookie,
    /// A header that has no place of its own.
    Header,
    /// The path.
    Path,
    /// A text part of a multipart body.
    Multipart,
    /// Text or an attribute of an XML document, or the document itself.
    Xml,
    /// A body of another type, as one value.
    Text,
    /// The name of a parameter, key, cookie or part.
    Name,
    /// The `User-Agent` header.
    UserAgent,
    /// The `Referer` header.
    Referer,
    /// The file name of an upload.
    Upload,
}

impl Place {
    /// The bit that rules are limited with.
    #[must_use]
    pub fn bit(self) -> u16 {
        1 << (self as u8)
    }

    /// The word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Form => "form",
            Self::Json => "json",
            Self::Cookie => "cookie",
            Self::Header => "header",
            Self::Path => "path",
            Self::Multipart => "multipart",
            Self::Xml => "xml",
            Self::Text => "text",
            Self::Name => "name",
            Self::UserAgent => "user-agent",
            Self::Referer => "referer",
            Self::Upload => "upload",
        }
    }
}

/// A place, and the parameter's name.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Where.
    pub place: Place,
    /// The name of the parameter, of the header, or the path of keys.
    pub name: &'a [u8],
}

impl Source<'_> {
    /// Whether no log shows anything of its value: credentials.
    fn is_secret(&self) -> bool {
        const SECRET: &[&[u8]] = &[b"authorization", b"proxy-authorization", b"dpop", b"x-api-key"];
        self.place == Place::Header && SECRET.iter().any(|known| self.name.eq_ignore_ascii_case(known))
    }
}

/// The rule that made a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundBy {
    /// One of ours.
    BuiltIn(RuleId),
    /// One of an operator.
    Own(Rc<Label>),
}

impl FoundBy {
    /// The rule's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::BuiltIn(rule) => rule.as_str(),
            Self::Own(label) => &label.name,
        }
    }

    /// The family it gives evidence of.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::BuiltIn(rule) => rule.family(),
            Self::Own(label) => label.family,
        }
    }
}

/// What a request has too much of. What is behind it was not looked at, so nothing excepts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Values, names among them: [`crate::arguments::MOST`].
    Values,
    /// Parts of a multipart body: [`crate::arguments::MOST_PARTS`].
    Parts,
    /// Work of the built-in rules.
    Steps,
    /// Work of an operator's rules.
    OwnSteps,
}

/// One piece of evidence.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The rule that found it.
    pub by: FoundBy,
    /// Where it stood.
    pub place: Place,
    /// The name of the parameter, cut to [`LONGEST_NAME`] bytes. It can be what a user typed.
    pub name: Vec<u8>,
    /// Whether the name goes on.
    pub is_cut: bool,
    /// What matched, normalised, cut to 64 bytes. It can hold what a user typed: redact it before it is logged.
    pub excerpt: Vec<u8>,
    /// The points it adds.
    pub weight: u16,
    /// The points of its family in the value that it was found in; `None` where its own points add to those of any value.
    pub score: Option<u16>,
}

/// How much of a parameter's name is kept.
pub const LONGEST_NAME: usize = 128;

/// What an inspection found.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    pub(crate) scores: [u16; FAMILIES],
    findings: Vec<Finding>,
    /// The rules that took part where one value made an attack, whether their findings are kept or not.
    decisive: Vec<RuleId>,
    limit: Option<Limit>,
    /// How many rounds of decoding the most deeply encoded value took.
    pub depth: u8,
}

/// Findings that are kept of all families together; beyond them, the heaviest of each family is.
const KEPT: usize = 32;

impl Finding {
    pub(crate) fn new(by: FoundBy, source: Source<'_>, excerpt: &[u8], weight: u16) -> Self {
        let cut = |text: &[u8], most: usize| text.get(..most).unwrap_or(text).to_vec();
        Self {
            by,
            place: source.place,
            name: cut(source.name, LONGEST_NAME),
            is_cut: source.name.len() > LONGEST_NAME,
            excerpt: if source.is_secret() { Vec::new() } else { cut(excerpt, 64) },
            weight,
            score: None,
        }
    }

    /// Whether its value alone makes an attack.
    fn is_decisive(&self, threshold: u16) -> bool {
        self.score.is_some_and(|score| score >= threshold)
    }
}

impl Verdict {
    /// Adds a finding that stands on its own, with its points.
    pub(crate) fn add(&mut self, finding: Finding, threshold: u16) {
        if let Some(score) = self.scores.get_mut(finding.by.family() as usize) {
            *score = score.saturating_add(finding.weight);
        }
        self.keep(finding, threshold);
    }

    /// Takes over what was found in one value. A family's score is that of its worst value, so that many harmless values never
    /// add up to an attack.
    pub(crate) fn add_value(&mut self, findings: Vec<Finding>, scores: &[u16; FAMILIES], threshold: u16) {
        for (mine, theirs) in self.scores.iter_mut().zip(scores) {
            *mine = (*mine).max(*theirs);
        }
        for mut finding in findings {
            let score = scores.get(finding.by.family() as usize).copied().unwrap_or(0);
            finding.score = Some(score);
            if let FoundBy::BuiltIn(rule) = finding.by
                && score >= threshold
                && !self.decisive.contains(&rule)
            {
                self.decisive.push(rule);
            }
            self.keep(finding, threshold);
        }
    }

    /// Keeps a finding. Where there are too many, small signs make room for what is an attack, and a family's second for another's first:
    /// nobody hides one behind others.
    fn keep(&mut self, finding: Finding, threshold: u16) {
        let is_small = |finding: &Finding| finding.score.is_some_and(|score| score < threshold.max(1));
        if self.findings.len() >= KEPT {
            let family = finding.by.family();
            let small = self.findings.iter().rposition(is_small);
            let place = match small {
                _ if is_small(&finding) => None,
                None if self.findings.iter().any(|kept| kept.by.family() == family) => None,
                // There are more of them than families, so some family has two.
                None => self.findings.iter().rposition(|kept| self.count(kept.by.family()) > 1),
                small => small,
            };
            let Some(place) = place else { return };
            self.findings.remove(place);
        }
        self.findings.push(finding);
    }

    fn count(&self, family: Family) -> usize {
        self.findings.iter().filter(|kept| kept.by.family() == family).count()
    }

    /// Notes that not all of the request was looked at.
    pub(crate) fn exceed(&mut self, limit: Limit) {
        self.limit.get_or_insert(limit);
    }

    /// Forgets what was told already.
    pub(crate) fn forget_limit(&mut self) {
        self.limit = None;
    }

    /// What the request has too much of: what is behind it was not looked at.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        self.limit
    }

    /// What makes the request an attack under this threshold: of each family that reaches it, the findings without which it would
    /// not; the worst family first, of several the narrowest; and what was found last, which is the most exact: an argument after its
    /// document.
    #[must_use]
    pub fn decisive(&self, threshold: u16) -> Vec<&Finding> {
        let mut families: Vec<Family> =
            Family::ALL.into_iter().filter(|&family| self.score(family) >= threshold.max(1)).collect();
        families.sort_by_key(|&family| (Reverse(self.score(family)), family.breadth()));
        let mut all = Vec::new();
        for family in families {
            let of_family = || self.findings.iter().rev().filter(|finding| finding.by.family() == family);
            // Without the values that are attacks by themselves, would the others and what adds to them still be one?
            let added = of_family().filter(|finding| finding.score.is_none()).map(|finding| finding.weight);
            let added = added.fold(0, u16::saturating_add);
            let small = of_family().filter_map(|finding| finding.score).filter(|score| *score < threshold);
            let is_one_still = added > 0 && added.saturating_add(small.max().unwrap_or(0)) >= threshold;
            let before = all.len();
            all.extend(of_family().filter(|finding| match finding.score {
                Some(_) => finding.is_decisive(threshold),
                None => is_one_still,
            }));
            if all.len() == before {
                all.extend(of_family());
            }
        }
        all
    }

    /// The rules that made [`Self::decisive`]'s findings, each once, also where there are more findings than are kept.
    #[must_use]
    pub fn decisive_rules(&self, threshold: u16) -> Vec<FoundBy> {
        let mut rules: Vec<FoundBy> = self.decisive.iter().map(|rule| FoundBy::BuiltIn(*rule)).collect();
        for finding in self.decisive(threshold) {
            if !rules.contains(&finding.by) {
                rules.push(finding.by.clone());
            }
        }
        rules
    }

    /// True if nothing at all was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.scores.iter().all(|&score| score == 0) && self.limit.is_none()
    }

    /// The points of a family.
    #[must_use]
    pub fn score(&self, family: Family) -> u16 {
        self.scores.get(family as usize).copied().unwrap_or(0)
    }

    /// The family with the most points, and its points.
    #[must_use]
    pub fn worst(&self) -> Option<(Family, u16)> {
        Family::ALL.iter().map(|&family| (family, self.score(family))).filter(|&(_, s)| s > 0).max_by_key(|&(_, s)| s)
    }

    /// The evidence, in the order in which it was found; what is an attack by itself rather than small signs, where there is too much.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}
