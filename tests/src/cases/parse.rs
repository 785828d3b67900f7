//! Reads the text of a case.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::{
    ADDRESS_LIST, About, Assertion, Case, Decision, EndpointAnswer, Facts, LIMIT_SERVICE, REVOCATION_LIST, Request,
    ServiceLimit, Step, Verdict,
};

/// Reads the case that stands in `text`. `shared` gives the text of a shared configuration by its file name.
///
/// # Errors
/// What the format does not know, with file and line.
pub fn parse(file: &Path, text: &str, shared: &dyn Fn(&str) -> Option<String>) -> Result<Case> {
    let mut reader = Reader { shared, case: empty(file), pending: None, has_config: false };
    for block in blocks(text) {
        let line = block.line;
        reader.take(block).with_context(|| format!("{}:{line}", file.display()))?;
    }
    let case = reader.finish().with_context(|| format!("{}:{}", file.display(), text.lines().count()))?;
    Ok(case)
}

fn empty(file: &Path) -> Case {
    Case {
        file: file.to_owned(),
        fact: String::new(),
        config: String::new(),
        facts: Facts::default(),
        steps: Vec::new(),
        problems: None,
        problems_line: 0,
    }
}

/// A heading (`None` before the first one) with the lines below it.
struct Block<'a> {
    line: usize,
    heading: Option<&'a str>,
    lines: Vec<(usize, &'a str)>,
}

impl Block<'_> {
    /// The lines that say something: neither empty nor a comment.
    fn said(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines.iter().copied().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
    }

    fn text(&self) -> String {
        self.lines.iter().map(|(_, line)| format!("{line}\n")).collect()
    }
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = vec![Block { line: 1, heading: None, lines: Vec::new() }];
    for (index, line) in text.lines().enumerate() {
        let number = index.saturating_add(1);
        if let Some(heading) = line.strip_prefix("--- ") {
            blocks.push(Block { line: number, heading: Some(heading.trim()), lines: Vec::new() });
        } else if let Some(block) = blocks.last_mut() {
            block.lines.push((number, line));
        }
    }
    blocks
}

struct Reader<'s> {
    shared: &'s dyn Fn(&str) -> Option<String>,
    case: Case,
    /// A request that waits for its decision.
    pending: Option<Pending>,
    has_config: bool,
}

enum Pending {
    Request(Box<Request>),
    Later(Duration),
}

impl Reader<'_> {
    fn take(&mut self, block: Block<'_>) -> Result<()> {
        let Some(heading) = block.heading else {
            let words = block.lines.iter().map(|(_, line)| line.trim_start_matches('#').trim());
            self.case.fact = words.collect::<Vec<_>>().join(" ").trim().to_owned();
            return Ok(());
        };
        let (title, rest) = heading.split_once(':').map_or((heading, ""), |(title, rest)| (title, rest.trim()));
        if let (Some(Pending::Request(request)), "response") = (&mut self.pending, title) {
            for (number, line) in block.said() {
                let header =
                    header_line(line).ok_or_else(|| anyhow!("line {number}: {line:?} is not `name: value`"))?;
                request.response.push(header);
            }
            return Ok(());
        }
        if self.pending.is_some() && title != "decision" {
            bail!("a request needs its decision first");
        }
        let words: Vec<&str> = title.split_whitespace().collect();
        match words.as_slice() {
            ["config"] => self.config(rest, &block)?,
            ["facts"] => facts(&block, &mut self.case.facts)?,
            ["problems"] => {
                self.case.problems_line = block.line;
                self.case.problems = Some(block.said().map(|(_, line)| line.to_owned()).collect());
            }
            ["key", "set", provider] => {
                let answer = key_set(rest, &block)?;
                self.case.steps.push(Step::Endpoint { whose: (*provider).to_owned(), answer });
            }
            ["introspection", provider] => {
                let answer = if rest.is_empty() { by_token(&block)? } else { key_set(rest, &block)? };
                self.case.steps.push(Step::Endpoint { whose: (*provider).to_owned(), answer });
            }
            ["revocation", "list"] => {
                let answer = key_set(if rest.is_empty() { "text" } else { rest }, &block)?;
                self.case.steps.push(Step::Endpoint { whose: REVOCATION_LIST.to_owned(), answer });
            }
            ["limit", "service"] => {
                let answer = if rest.is_empty() { service_limits(&block)? } else { key_set(rest, &block)? };
                self.case.steps.push(Step::Endpoint { whose: LIMIT_SERVICE.to_owned(), answer });
            }
            ["address", "list", name] => {
                let answer = if rest.is_empty() { address_list(&block) } else { key_set(rest, &block)? };
                self.case.steps.push(Step::Endpoint { whose: format!("{ADDRESS_LIST} {name}"), answer });
            }
            // An IPv6 address has colons: the words after `request` are read from the whole heading.
            ["request", ..] => {
                let words: Vec<&str> = heading.split_whitespace().skip(1).collect();
                self.pending = Some(Pending::Request(Box::new(request(&words, &block)?)));
            }
            ["later", circumstances @ ..] => {
                let mut request = Request::blank(block.line);
                read_circumstances(circumstances, &mut request)?;
                self.pending = Some(Pending::Later(request.after));
            }
            ["end"] => self.case.steps.push(Step::End),
            ["decision"] => {
                let decision = decision(&block)?;
                self.case.steps.push(match self.pending.take() {
                    Some(Pending::Request(request)) => Step::Exchange { request, decision },
                    Some(Pending::Later(after)) => Step::Later { after, decision },
                    None => bail!("a decision without a request"),
                });
            }
            _ => bail!("unknown heading {heading:?}"),
        }
        Ok(())
    }

    fn config(&mut self, name: &str, block: &Block<'_>) -> Result<()> {
        self.has_config = true;
        self.case.config = if name.is_empty() {
            block.text()
        } else {
            (self.shared)(name).ok_or_else(|| anyhow!("no shared configuration {name:?}"))?
        };
        Ok(())
    }

    fn finish(self) -> Result<Case> {
        if self.case.fact.is_empty() {
            bail!("the case does not begin with its fact in words");
        }
        if !self.has_config {
            bail!("the case has no configuration");
        }
        if self.pending.is_some() {
            bail!("the last request has no decision");
        }
        let has_decisions = self.case.steps.iter().any(|step| !matches!(step, Step::Endpoint { .. } | Step::End));
        if has_decisions == self.case.problems.is_some() {
            bail!("a case has requests or problems, and not both");
        }
        Ok(self.case)
    }
}

fn facts(block: &Block<'_>, facts: &mut Facts) -> Result<()> {
    for (_, line) in block.said() {
        let (name, value) = line.split_once('=').ok_or_else(|| anyhow!("{line:?} is not `name=value`"))?;
        match name.trim() {
            "address" => facts.address = Some(value.trim().parse()?),
            "route_name" => facts.route_name = Some(value.trim().to_owned()),
            "virtual_host_policy" => facts.virtual_host_policy = Some(value.trim().to_owned()),
            "served_by" => facts.served_by = Some(value.trim().to_owned()),
            "route_policy" => facts.route_policy = Some(value.trim().to_owned()),
            "now" => facts.now = Some(value.trim().parse()?),
            "certificate" if value.trim() == "verified" => facts.certificate_is_verified = true,
            "start" if value.trim() == "cold" => facts.cold_start = true,
            "answered_by" if value.trim() == "proxy" => facts.answered_by_proxy = true,
            "store" if value.trim() == "fails" => facts.store_fails = true,
            other => {
                let (names, name) = match (other.strip_prefix("env."), other.strip_prefix("certificate.")) {
                    (Some(variable), _) => (&mut facts.environment, variable),
                    (_, Some(field)) => (&mut facts.certificate, field),
                    _ => bail!("unknown fact {line:?}"),
                };
                names.insert(name.to_owned(), value.trim().to_owned());
            }
        }
    }
    Ok(())
}

fn key_set(rest: &str, block: &Block<'_>) -> Result<EndpointAnswer> {
    let mut headers = Vec::new();
    let mut keys = Vec::new();
    let mut text = String::new();
    for (_, line) in block.said() {
        match line.split_once(": ").filter(|(name, _)| is_header_name(name)) {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => {
                keys.push(line.trim());
                text.push_str(line);
            }
        }
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (status, body) = match words.as_slice() {
        [] => (200, format!("{{\"keys\": [{}]}}", keys.join(", "))),
        ["down"] => return Ok(EndpointAnswer::Down),
        ["hanging"] => return Ok(EndpointAnswer::Hanging),
        ["status", status] => (status.parse()?, text),
        ["text"] => (200, text),
        _ => bail!("unknown answer {rest:?}; one of `down`, `hanging`, `status N`, `text`, or nothing"),
    };
    Ok(EndpointAnswer::Answer { status, headers, body })
}

/// The lines as they stand, comments too: both belong to the format.
fn address_list(block: &Block<'_>) -> EndpointAnswer {
    EndpointAnswer::Answer { status: 200, headers: Vec::new(), body: block.text() }
}

/// `TOKEN {"active": true}` on each line.
fn service_limits(block: &Block<'_>) -> Result<EndpointAnswer> {
    let limit = |(number, line): (usize, &str)| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, most, is_silent) = match words.as_slice() {
            [name, most] => (name, most, false),
            [name, most, "silent"] => (name, most, true),
            _ => bail!("line {number}: {line:?} is not `LIMIT NUMBER` or `LIMIT NUMBER silent`"),
        };
        Ok(ServiceLimit { name: (*name).to_owned(), most: most.parse()?, is_silent })
    };
    Ok(EndpointAnswer::Limits(block.said().map(limit).collect::<Result<_>>()?))
}

fn by_token(block: &Block<'_>) -> Result<EndpointAnswer> {
    let word = |(number, line): (usize, &str)| {
        let (token, answer) =
            line.split_once(' ').ok_or_else(|| anyhow!("line {number}: {line:?} is not `TOKEN JSON`"))?;
        Ok((token.to_owned(), answer.to_owned()))
    };
    Ok(EndpointAnswer::ByToken(block.said().map(word).collect::<Result<_>>()?))
}

fn request(circumstances: &[&str], block: &Block<'_>) -> Result<Request> {
    let mut request = Request::blank(block.line);
    read_circumstances(circumstances, &mut request)?;
    let mut lines = block.said();
    let (_, first) = lines.next().ok_or_else(|| anyhow!("the request has no first line"))?;
    let (method, target) = first.split_once(' ').ok_or_else(|| anyhow!("{first:?} is not `METHOD target`"))?;
    (request.method, request.target) = (method.to_owned(), target.to_owned());
    for (number, line) in lines {
        if let Some(name) = line.strip_prefix('-') {
            request.without.push(name.trim().to_owned());
            continue;
        }
        if let Some(text) = line.strip_prefix("< ") {
            request.body.push_str(text);
            continue;
        }
        let header = header_line(line).ok_or_else(|| anyhow!("line {number}: {line:?} is not `name: value`"))?;
        request.headers.push(header);
    }
    Ok(request)
}

/// `after 61s`, `3 times`, `from 192.0.2.7`, `on route orders`, `with certificate NAME`, `open`, in any order.
fn read_circumstances(words: &[&str], request: &mut Request) -> Result<()> {
    match words {
        [] => Ok(()),
        ["after", span, rest @ ..] => {
            request.after = duration(span).ok_or_else(|| anyhow!("{span:?} is not a duration"))?;
            read_circumstances(rest, request)
        }
        ["from", address, rest @ ..] => {
            request.address = Some(address.parse()?);
            read_circumstances(rest, request)
        }
        ["on", "route", policy, rest @ ..] => {
            request.route_policy = Some((*policy).to_owned());
            read_circumstances(rest, request)
        }
        ["with", "certificate", name, rest @ ..] => {
            request.certificate = Some((*name).to_owned());
            read_circumstances(rest, request)
        }
        ["open", rest @ ..] => {
            request.open = true;
            read_circumstances(rest, request)
        }
        [times, "times", rest @ ..] => {
            request.times = times.parse()?;
            read_circumstances(rest, request)
        }
        _ => bail!("unknown circumstances {:?}", words.join(" ")),
    }
}

fn decision(block: &Block<'_>) -> Result<Decision> {
    let mut decision = Decision {
        line: block.line,
        held: false,
        monitored: Vec::new(),
        verdict: Verdict::Hold,
        assertions: Vec::new(),
    };
    let mut has_verdict = false;
    for (number, line) in block.said() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let verdict = match words.as_slice() {
            ["hold"] => {
                decision.held = true;
                None
            }
            ["monitored", reason] => {
                decision.monitored.push((*reason).to_owned());
                None
            }
            ["allow"] => Some(Verdict::Allow),
            ["answer", status] => Some(Verdict::Answer { status: status.parse()? }),
            ["deny", status, reason] => Some(Verdict::Deny { status: status.parse()?, reason: (*reason).to_owned() }),
            _ => {
                let about = about(line).ok_or_else(|| anyhow!("line {number}: unknown expectation {line:?}"))?;
                decision.assertions.push(Assertion { line: number, about });
                continue;
            }
        };
        if let Some(verdict) = verdict {
            if has_verdict {
                bail!("line {number}: a second verdict");
            }
            has_verdict = true;
            decision.verdict = verdict;
        }
    }
    if !has_verdict && !decision.held {
        bail!("the decision says neither `allow` nor `deny`, `answer` or `hold`");
    }
    Ok(decision)
}

fn about(line: &str) -> Option<About> {
    if let Some(header) = line.strip_prefix("-> ") {
        return Some(match header.strip_prefix('-') {
            Some(name) => About::NotForwarded(name.trim().to_owned()),
            None => header_line(header).map(|(name, value)| match value.strip_prefix("token ") {
                Some(claims) => About::ForwardedToken(name, claims.to_owned()),
                None => About::Forwarded(name, value),
            })?,
        });
    }
    if let Some(header) = line.strip_prefix("<- ") {
        return Some(match header.strip_prefix('-') {
            Some(name) => About::NoResponse(name.trim().to_owned()),
            None => header_line(header).map(|(name, value)| About::Response(name, value))?,
        });
    }
    type Make = fn(String) -> About;
    if line == "asks nothing" {
        return Some(About::Asked(Vec::new()));
    }
    if let Some(text) = line.strip_prefix("asks ") {
        return Some(About::Asked(text.split(" then ").map(str::to_owned).collect()));
    }
    let texts: [(&str, Make); 5] = [
        ("body contains ", About::Body),
        ("body lacks ", About::NotInBody),
        ("log contains ", About::Log),
        ("log lacks ", About::NoLog),
        ("lacks ", About::AnswerLacks),
    ];
    for (words, make) in texts {
        if let Some(text) = line.strip_prefix(words) {
            return Some(make(text.to_owned()));
        }
    }
    header_line(line).map(|(name, value)| About::Answer(name, value))
}

/// `name: value`; a pseudo-header's name begins with a colon. An escaped name is the case's own business.
fn header_line(line: &str) -> Option<(String, String)> {
    let colon = line.char_indices().skip(1).find(|(_, c)| *c == ':').map(|(at, _)| at)?;
    let (name, value) = line.split_at_checked(colon)?;
    let value = value.strip_prefix(':')?;
    let value = value.strip_prefix(' ').unwrap_or(value);
    Some((name.to_owned(), value.to_owned()))
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Case> {
        parse(Path::new("x.case"), text, &|name| (name == "known.yaml").then(|| "version: 1".to_owned()))
    }

    fn refused(text: &str) -> String {
        format!("{:#}", read(text).unwrap_err())
    }

    const CASE: &str = "\
# A fact
# in two lines.
--- config: known.yaml
--- facts
address=192.0.2.1
--- key set corp: down
--- request after 61s 3 times from ::1
GET /a b
x-n: 1:2
:scheme: ftp
-x-request-id
--- decision
hold
deny 401 token_expired
www-authenticate: Bearer
lacks retry-after
body contains token
";

    #[test]
    fn a_case_is_read_as_it_is_written() {
        let case = read(CASE).unwrap();
        assert_eq!((case.fact.as_str(), case.config.as_str()), ("A fact in two lines.", "version: 1"));
        let [Step::Endpoint { answer: EndpointAnswer::Down, .. }, Step::Exchange { request, decision }] =
            case.steps.as_slice()
        else {
            panic!("{:?}", case.steps)
        };
        assert_eq!((request.after, request.times, request.line), (Duration::from_secs(61), 3, 7));
        assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/a b"));
        assert_eq!(request.headers, [("x-n".into(), "1:2".into()), (":scheme".into(), "ftp".into())]);
        assert_eq!(request.without, ["x-request-id"]);
        assert!(decision.held);
        assert_eq!(decision.verdict, Verdict::Deny { status: 401, reason: "token_expired".into() });
        let about: Vec<&About> = decision.assertions.iter().map(|assertion| &assertion.about).collect();
        assert_eq!(about[0], &About::Answer("www-authenticate".into(), "Bearer".into()));
        assert_eq!(about[1], &About::AnswerLacks("retry-after".into()));
        assert_eq!(decision.assertions[2].line, 17);
    }

    #[test]
    fn what_the_format_does_not_know_is_an_error_with_its_line() {
        assert!(refused("--- config: known.yaml\n--- request\nGET /\n--- decision\nallow\n").contains("fact"));
        let start = "# F\n--- config: known.yaml\n";
        for (rest, complaint) in [
            ("--- request\nGET /\n", "no decision"),
            ("--- decision\nallow\n", "without a request"),
            ("--- request\nGET /\n--- decision\nmaybe\n", "unknown expectation"),
            ("--- request\nGET /\n--- decision\nallow\nallow\n", "a second verdict"),
            ("--- request\nGET /\n--- decision\n-> x: y\n", "neither"),
            ("--- request tomorrow\nGET /\n--- decision\nallow\n", "unknown circumstances"),
            ("--- request\nGET\n--- decision\nallow\n", "METHOD target"),
            ("--- facts\nweather=fine\n", "unknown fact"),
            ("--- key set corp: asleep\n", "unknown answer"),
            ("--- introspection partner\ntoken\n", "TOKEN JSON"),
            ("--- what\n", "unknown heading"),
            ("", "requests or problems"),
        ] {
            let error = refused(&format!("{start}{rest}"));
            assert!(error.contains(complaint) && error.starts_with("x.case:"), "{rest}: {error}");
        }
        assert!(refused("# F\n--- config: other.yaml\n").contains("no shared configuration"));
    }
}
