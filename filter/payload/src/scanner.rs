//! The scan of one request, value by value.

use crate::arguments::Known;
use crate::base64;
use crate::bytes::{contains, part};
use crate::clean::CleanValues;
use crate::literals::{self, Group};
use crate::normalise::normalise;
use crate::own::Kind;
use crate::own::run::{Asked, OwnScratch, State};
use crate::pattern::{Matcher, Pattern, Steps};
use crate::rules::{FAMILIES, Family, RuleId, id, tables};
use crate::settings::Settings;
use crate::verdict::{Finding, FoundBy, Limit, Place, Source, Verdict};
use crate::views::{CUT, View, derive};
use crate::{html, mask, sql, verify};

/// Everything that is searched for: tables of the module itself, so that a worker has nothing to load.
pub struct Scanner(());

/// Buffers that are kept from one request to the next.
#[derive(Default)]
pub struct Scratch {
    text: Vec<u8>,
    other: Vec<u8>,
    inner: Vec<u8>,
    view: Vec<u8>,
    tokens: sql::Tokens,
    clean: CleanValues,
    own: Option<OwnScratch>,
}

/// The views that the normal form stands for, until others are derived from it.
const TEXT: u8 = 0x3f;
/// What was found inside of base64.
const BASE64: u8 = 0x40;

/// Steps that every request has, and those for each byte of it. Honest values take less than a step for a byte.
const STEPS: u64 = 200_000;
const STEPS_PER_BYTE: u64 = 40;

impl Scanner {
    /// A scanner; none if its tables do not belong together.
    #[must_use]
    pub fn new() -> Option<Self> {
        (tables::UNITS.len() == tables::GROUP_AT.len()).then_some(Self(()))
    }

    /// Starts the inspection of one request.
    #[must_use]
    pub fn begin<'a>(&'a self, settings: &'a Settings, scratch: &'a mut Scratch) -> Inspection<'a> {
        let (verdict, steps, known) = (Verdict::default(), Steps::new(STEPS), Known::default());
        Inspection { scanner: self, settings, scratch, verdict, steps, known, own: State::default() }
    }
}

/// One request under inspection.
pub struct Inspection<'a> {
    scanner: &'a Scanner,
    settings: &'a Settings,
    scratch: &'a mut Scratch,
    verdict: Verdict,
    steps: Steps,
    known: Known<'a>,
    own: State,
}

/// What one value has shown so far.
pub(crate) struct Evidence<'a> {
    settings: &'a Settings,
    source: Source<'a>,
    findings: Vec<Finding>,
    scores: [u16; FAMILIES],
    fired: Fired,
    /// Whether any rule found anything, excluded or not.
    found: bool,
    /// Findings are not kept: they were, when this value was judged before.
    is_quiet: bool,
}

/// The rules that have found something, one bit for each.
type Fired = [u64; 16];

/// What became of a value as it stands.
struct Plain {
    /// It is base64 of a text.
    holds_text: bool,
    /// It is wrapped in nothing and showed nothing at all, not even what is excluded.
    is_clean: bool,
}

/// What the values that are joined to one have shown by themselves.
#[derive(Default)]
struct Before {
    scores: [u16; FAMILIES],
    fired: Fired,
    is_quiet: bool,
}

impl Evidence<'_> {
    fn has(&self, rule: RuleId) -> bool {
        self.fired.get(usize::from(rule.0 >> 6)).is_some_and(|bits| bits >> (rule.0 & 63) & 1 == 1)
    }

    /// Adds what a rule found, once for each value.
    pub(crate) fn add(&mut self, rule: RuleId, excerpt: &[u8]) {
        if self.has(rule) || rule.level() > self.settings.level {
            return;
        }
        self.found = true;
        if self.settings.excludes(rule, self.source) {
            return;
        }
        if let Some(bits) = self.fired.get_mut(usize::from(rule.0 >> 6)) {
            *bits |= 1 << (rule.0 & 63);
        }
        let weight = rule.weight();
        if let Some(score) = self.scores.get_mut(rule.family() as usize) {
            *score = score.saturating_add(u16::from(weight));
        }
        if !self.is_quiet {
            self.findings.push(Finding::new(FoundBy::BuiltIn(rule), self.source, excerpt, u16::from(weight)));
        }
    }

    /// Where the value stood.
    pub(crate) fn place(&self) -> Place {
        self.source.place
    }
}

impl Before {
    fn add(&mut self, scores: &[u16; FAMILIES], fired: &Fired) {
        for (mine, theirs) in self.scores.iter_mut().zip(scores) {
            *mine = (*mine).max(*theirs);
        }
        for (mine, theirs) in self.fired.iter_mut().zip(fired) {
            *mine |= theirs;
        }
    }
}

impl<'a> Inspection<'a> {
    /// What was found so far.
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Ends the inspection.
    #[must_use]
    pub fn finish(self) -> Verdict {
        self.verdict
    }

    /// The settings it runs under.
    #[must_use]
    pub fn settings(&self) -> &'a Settings {
        self.settings
    }

    /// From now on, what is known to hold no attack is not judged.
    pub fn skip(&mut self, known: Known<'a>) {
        self.known = known;
    }

    /// What is not judged.
    pub(crate) fn known(&self) -> Known<'a> {
        self.known
    }

    /// True if some family has reached the threshold.
    #[must_use]
    pub fn is_attack(&self) -> bool {
        self.verdict.worst().is_some_and(|(_, score)| score >= self.settings.threshold)
    }

    /// Steps that the patterns took so far: the measure for tests of linear time.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps.taken
    }

    /// Adds what was found outside of any value: in the head, in the framing.
    pub(crate) fn note(&mut self, rule: RuleId, source: Source<'_>, excerpt: &[u8]) {
        if !self.settings.excludes(rule, source) {
            let weight = u16::from(rule.weight());
            self.verdict.add(Finding::new(FoundBy::BuiltIn(rule), source, excerpt, weight), self.settings.threshold);
        }
    }

    /// Notes that not all of the request is looked at.
    pub(crate) fn exceed(&mut self, limit: Limit) {
        self.verdict.exceed(limit);
    }

    /// Asks an operator's rules about one value, which is what it is for them whatever is known of it.
    pub(crate) fn own_value(&mut self, kind: Kind, name: &[u8], value: &[u8]) {
        if self.settings.own.is_empty() {
            return;
        }
        let buffers = self.scratch.own.get_or_insert_default();
        let asked = Asked { kinds: &[kind], name, value, joined: None };
        self.own.ask(self.scanner, self.settings, buffers, asked);
    }

    /// Asks an operator's rules about values of one name as servers join them, where they were asked about each already. The values are of
    /// these kinds.
    pub(crate) fn own_joined(&mut self, kinds: &[Kind], name: &[u8], values: &[Vec<u8>]) {
        if self.settings.own.is_empty() {
            return;
        }
        let buffers = self.scratch.own.get_or_insert_default();
        for whole in together(values) {
            let asked = Asked { kinds, name, value: &whole, joined: Some(values) };
            self.own.ask(self.scanner, self.settings, buffers, asked);
        }
    }

    /// From now on, an operator's rules are asked about the body. What the head has too much of was told with it.
    pub(crate) fn head_is_done(&mut self) {
        self.verdict.forget_limit();
        if !self.settings.own.is_empty() {
            self.own.head_is_done(&self.settings.own);
        }
    }

    /// Adds up what an operator's rules have found. Each rule counts once for a request; what the head alone has shown is judged
    /// with it already, and counts again only beside something new of its family.
    pub(crate) fn judge_own(&mut self) {
        if self.settings.own.is_empty() {
            return;
        }
        let hits: Vec<_> = self.own.hits(self.settings).collect();
        for hit in &hits {
            let family = hit.label.family;
            if hit.is_earlier && !hits.iter().any(|other| !other.is_earlier && other.label.family == family) {
                continue;
            }
            let source = Source { place: hit.evidence.kind.place(), name: &hit.evidence.name };
            let by = FoundBy::Own(hit.label.clone());
            self.verdict.add(Finding::new(by, source, &hit.evidence.excerpt, hit.weight), self.settings.threshold);
        }
        if self.own.is_spent() {
            self.exceed(Limit::OwnSteps);
        }
    }

    /// Judges one value. Decoding that belongs to its place (the percent signs of a query, the escapes of JSON) is done already.
    pub fn value(&mut self, source: Source<'_>, value: &[u8]) {
        let kinds = mask::of(value);
        if says_nothing(value, kinds) {
            return;
        }
        let (place, level) = (source.place, self.settings.level);
        let is_kept = CleanValues::keeps(place, value);
        if is_kept && self.scratch.clean.holds(place, level, value) {
            return;
        }
        let is_clean = self.judge(source, (value, kinds), &mut Before::default());
        if is_kept && is_clean {
            self.scratch.clean.keep(place, level, value);
        }
    }

    /// Judges values of one name as servers join them. Each was judged by itself already: only what they show together counts.
    pub(crate) fn joined(&mut self, source: Source<'_>, values: &[Vec<u8>]) {
        self.together(source, values, &together(values));
    }

    /// Judges texts that are made of these values: only what these do not show by themselves counts.
    pub(crate) fn together<W: AsRef<[u8]>>(&mut self, source: Source<'_>, values: &[Vec<u8>], wholes: &[W]) {
        let mut before = Before { is_quiet: true, ..Before::default() };
        for value in values {
            let kinds = mask::of(value);
            if !says_nothing(value, kinds) {
                self.judge(source, (value, kinds), &mut before);
            }
        }
        before.is_quiet = false;
        for value in wholes.iter().map(AsRef::as_ref) {
            let kinds = mask::of(value);
            if !says_nothing(value, kinds) {
                self.judge(source, (value, kinds), &mut before);
            }
        }
    }

    /// True if it showed nothing at all, not even what is excluded.
    fn judge(&mut self, source: Source<'_>, (value, kinds): (&[u8], u16), before: &mut Before) -> bool {
        let mut inner = std::mem::take(&mut self.scratch.inner);
        let Plain { holds_text, mut is_clean } = self.plain(source, value, (kinds, TEXT), before, &mut inner);
        if holds_text {
            let kinds = mask::of(&inner);
            is_clean &= self.plain(source, &inner, (kinds, TEXT | BASE64), before, &mut Vec::new()).is_clean;
        }
        self.scratch.inner = inner;
        is_clean
    }

    /// Judges a value as it stands; where it is base64, what that holds is written to `inner`.
    fn plain(
        &mut self,
        source: Source<'_>,
        value: &[u8],
        (kinds, views): (u16, u8),
        before: &mut Before,
        inner: &mut Vec<u8>,
    ) -> Plain {
        self.steps.left = self.steps.left.saturating_add(STEPS_PER_BYTE * value.len() as u64);
        let Scratch { text, other, view, tokens, .. } = &mut *self.scratch;
        let trace = normalise(value, kinds, text, other);
        let kinds = if trace.changed { mask::of(text) } else { kinds };
        let holds_text = views == TEXT
            && text.len() >= 10
            && kinds & mask::UPPER != 0
            && kinds & mask::LETTER != 0
            && source.place != Place::UserAgent
            && (source.place != Place::Name || text.len() >= 20)
            && base64::text(text, inner);
        let is_object = views == TEXT && base64::is_object(text);
        text.make_ascii_lowercase();
        self.verdict.depth = self.verdict.depth.max(trace.depth);
        let mut evidence = Evidence {
            settings: self.settings,
            source,
            findings: Vec::new(),
            scores: [0; FAMILIES],
            fired: if before.is_quiet { [0; 16] } else { before.fired },
            found: false,
            is_quiet: before.is_quiet,
        };
        search(text, views, &mut evidence, &mut self.steps);
        for which in [View::Sql, View::Shell, View::Path, View::Squeezed] {
            if derive(which, text, kinds, view) {
                search(view, which as u8, &mut evidence, &mut self.steps);
                // Only there a word stands together that was cut up.
                if which == View::Sql && (contains(text, b"/**/") || contains(text, CUT)) {
                    sql::judge(view, kinds, tokens, &mut evidence, &mut self.steps);
                }
            }
        }
        // Transact-SQL reads control bytes as blanks.
        if kinds & (mask::SQL | mask::CONTROL) != 0 || (kinds & mask::DASH != 0 && contains(text, b"--")) {
            sql::judge(text, kinds, tokens, &mut evidence, &mut self.steps);
        }
        if kinds & (mask::ANGLE | mask::QUOTE) != 0 || kinds & mask::SQL != 0 {
            html::judge(text, kinds, &mut evidence);
        }
        if is_object && !matches!(source.place, Place::Cookie | Place::Name | Place::Header | Place::Path) {
            evidence.add(id::DESERIALISATION_ENCODED_OBJECT, text);
        }
        verify::judge(text, kinds, trace, &mut evidence);
        let is_spent = self.steps.left == 0;
        let Evidence { mut scores, fired, found, findings, .. } = evidence;
        if is_spent {
            self.verdict.exceed(Limit::Steps);
        }
        let plain = Plain { holds_text, is_clean: !found && trace.depth == 0 && !is_spent };
        if before.is_quiet {
            before.add(&scores, &fired);
        } else if found {
            // Something new makes what was there before count with it.
            for (score, earlier) in scores.iter_mut().zip(&before.scores).filter(|(score, _)| **score > 0) {
                *score = score.saturating_add(*earlier);
            }
            self.verdict.add_value(findings, &scores, self.settings.threshold);
        }
        plain
    }
}

/// Values of one name as one: with a comma between (ASP and many others), or with nothing.
fn together(values: &[Vec<u8>]) -> [Vec<u8>; 2] {
    [&b","[..], b""].map(|between| values.join(between))
}

/// Numbers, dates and single bytes.
fn says_nothing(value: &[u8], kinds: u16) -> bool {
    value.len() < 2 || (kinds & !(mask::DIGIT | mask::DASH) == 0 && !contains(value, b"--"))
}

fn search(text: &[u8], views: u8, evidence: &mut Evidence<'_>, steps: &mut Steps) {
    let matcher = Matcher { ops: tables::OPS, classes: tables::CLASSES, words: tables::WORD_LISTS };
    let (place, level) = (evidence.source.place.bit(), evidence.settings.level);
    let is_asked = |of: (u8, u16, u8)| of.0 & views != 0 && of.1 & place != 0 && of.2 <= level;
    literals::each(text, views, |hit| {
        let Group { from, to, around, shapes, places, views, level } = *hit.group;
        // What all patterns of a literal ask is looked at once.
        if !is_asked((views, places, level)) || !hit.fits(shapes, around) {
            return;
        }
        for target in tables::TARGETS.get(usize::from(from)..usize::from(to)).unwrap_or_default() {
            if !hit.fits(target.shapes, target.around) {
                continue;
            }
            let Some(pattern) = tables::PATTERNS.get(usize::from(target.pattern)) else { continue };
            let rule = RuleId(pattern.rule);
            if !is_asked((pattern.views, pattern.places, pattern.level))
                || evidence.has(rule)
                || (pattern.reach != 0 && hit.start >= usize::from(pattern.reach))
            {
                continue;
            }
            if let Some((start, end)) = attempt(&matcher, pattern, text, hit.start, steps) {
                evidence.add(rule, part(text, start, end));
            }
        }
    });
}

fn attempt(
    matcher: &Matcher<'_>,
    pattern: &Pattern,
    text: &[u8],
    at: usize,
    steps: &mut Steps,
) -> Option<(usize, usize)> {
    let start = if pattern.backward == 0 { at } else { matcher.backward(pattern.backward, text, at, steps)? };
    let end = matcher.forward(pattern.forward, text, at, steps)?;
    Some((start, end))
}

/// Runs the patterns over token kinds; they are few, and the kinds are short.
pub(crate) fn search_tokens(kinds: &[u8], excerpt: &[u8], evidence: &mut Evidence<'_>, steps: &mut Steps) {
    let matcher = Matcher { ops: tables::OPS, classes: tables::CLASSES, words: tables::WORD_LISTS };
    let (mut low, mut high) = (0u64, 0u64);
    for &kind in kinds.iter().skip(1) {
        let half = if kind & 64 == 0 { &mut low } else { &mut high };
        *half |= 1 << (kind & 63);
    }
    let present = u128::from(high) << 64 | u128::from(low);
    let context = 1u128.wrapping_shl(u32::from(kinds.first().copied().unwrap_or(0)));
    let groups = tables::TOKEN_GROUPS.iter().filter(|(kind, ..)| kind & (present | context) != 0);
    let patterns = groups.filter_map(|&(_, from, to)| tables::TOKEN_PATTERNS.get(usize::from(from)..usize::from(to)));
    for pattern in patterns.flatten() {
        if pattern.first & context == 0 || pattern.needs & !(present | context) != 0 {
            continue;
        }
        let rule = RuleId(pattern.rule);
        if pattern.level > evidence.settings.level || evidence.has(rule) {
            continue;
        }
        if matcher.forward(pattern.forward, kinds, 0, steps).is_some() {
            evidence.add(rule, part(excerpt, 0, 64));
        }
    }
}

impl Family {
    /// The family called `word`.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.as_str() == word)
    }
}
