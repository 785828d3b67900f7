//! Istio's `RequestAuthentication` and `AuthorizationPolicy`.

mod authorization;

use std::collections::BTreeSet;

use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value, json};

use super::condition::Condition;
use super::notes::Notes;
use super::policy::{Group, Plan, Requirement};
use super::providers::{Provider, Providers, plain_name, split_url};
use super::{Options, keys};
use crate::document::{Language, Node, read};

/// The documents of a file; their lines are those of the file.
///
/// # Errors
/// One is not well-formed.
pub fn documents(text: &str, language: Language) -> Result<Vec<Node>> {
    let mut documents = Vec::new();
    let mut begin = 0;
    let lines: Vec<&str> = text.lines().collect();
    let marks = lines.iter().enumerate().filter(|(_, line)| line.trim_end() == "---" || line.starts_with("--- "));
    let mut ends: Vec<usize> = marks.map(|(index, _)| index).collect();
    if language == Language::Json {
        ends.clear();
    }
    ends.push(lines.len());
    for end in ends {
        let part = lines.get(begin..end).unwrap_or_default();
        begin = end.saturating_add(1);
        if part.iter().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            continue;
        }
        // Empty lines in front keep the numbers.
        let before = begin.saturating_sub(part.len()).saturating_sub(1);
        let padded = format!("{}{}", "\n".repeat(before), part.join("\n"));
        let (node, mistakes) =
            read(&padded, language).map_err(|mistake| anyhow!("line {}: {}", mistake.line, mistake.problem))?;
        if let Some(mistake) = mistakes.first() {
            bail!("line {}: {}: {}", mistake.line, mistake.path, mistake.problem);
        }
        documents.push(node);
    }
    Ok(documents)
}

/// Whether a document is one of Istio's.
pub fn is_resource(node: &Node) -> bool {
    matches!(node.text_at(&["kind"]), Some("RequestAuthentication" | "AuthorizationPolicy"))
}

/// Converts all resources of a workload.
///
/// # Errors
/// They are about several workloads: together they would allow what one of them does not.
pub fn convert(documents: &[Node], options: &Options, providers: &mut Providers, notes: &mut Notes) -> Result<Plan> {
    one_workload(documents)?;
    let of_kind =
        |kind: &str| documents.iter().filter(move |node| node.text_at(&["kind"]) == Some(kind)).collect::<Vec<_>>();
    for document in of_kind("RequestAuthentication") {
        for rule in document.at(&["spec", "jwtRules"]).map(Node::elements).unwrap_or_default() {
            let issuer = rule.text_at(&["issuer"]).unwrap_or_default();
            let base = split_url(issuer).map_or_else(|| issuer.to_owned(), |(host, _)| host);
            let base = plain_name(&base.replace(['.', ':'], "-"));
            let mut name = base.clone();
            let mut number = 1;
            while providers.0.contains_key(&name) {
                number += 1;
                name = format!("{base}-{number}");
            }
            let provider = provider(issuer, rule, options, notes);
            providers.0.insert(name, provider);
        }
    }
    let requirement = match providers.names() {
        names if names.is_empty() => Requirement::Nothing,
        // A bad token that is not seen would count as none.
        names if names.iter().any(|name| !providers.sees_every_token(name)) => Requirement::NoEqual,
        // A request without a token passes, one with a bad token does not.
        names => Requirement::Providers { names, all: false, optional: true },
    };
    let source = if providers.0.is_empty() { "" } else { "RequestAuthentication" };
    let group = Group { condition: Condition::default(), requirement, source: source.to_owned() };
    let mut plan = Plan { groups: vec![group], ..Plan::default() };
    let policies = of_kind("AuthorizationPolicy");
    let mut allowed = Vec::new();
    let mut restricts = false;
    for policy in policies {
        let spec = policy.at(&["spec"]);
        let action = spec.and_then(|spec| spec.text_at(&["action"])).unwrap_or("ALLOW");
        let name = policy.text_at(&["metadata", "name"]).unwrap_or_default();
        let source = format!("AuthorizationPolicy {name:?}");
        let alternatives =
            spec.map(|spec| authorization::alternatives(spec, &source, options, providers)).unwrap_or_default();
        match action {
            "ALLOW" => {
                restricts = true;
                for (alternative, is_wider) in alternatives {
                    if is_wider {
                        let problem = "a condition that has no equal: the rule allows nothing";
                        let hint = "paths, hosts, methods, exact headers, remote addresses, issuers, claims and SPIFFE names have one";
                        notes.stricter(alternative.line, &alternative.what.source, problem, hint);
                        continue;
                    }
                    allowed.push(alternative.what);
                }
            }
            "DENY" => {
                for (alternative, is_wider) in alternatives {
                    plan.deny(alternative.what, is_wider, alternative.line, notes);
                }
            }
            "AUDIT" => notes.note(policy.line, &source, "AUDIT decides nothing, and is left out", ""),
            other => {
                let problem = format!("action {other} has no equal: nobody passes");
                notes.stricter(policy.line, &source, &problem, "write rules for what the provider decides");
                plan.denied.push(super::policy::Alternative { source, ..Default::default() });
            }
        }
    }
    if restricts {
        plan.allowed.push(allowed);
    }
    Ok(plan)
}

/// Resources without a selector are about all workloads of a namespace; those with one must name the same.
fn one_workload(documents: &[Node]) -> Result<()> {
    let mut workloads = BTreeSet::new();
    for document in documents.iter().filter(|node| is_resource(node)) {
        let spec = document.at(&["spec"]);
        let chosen = ["selector", "targetRef", "targetRefs"].iter().find_map(|field| spec?.at(&[field]));
        workloads.extend(chosen.map(|node| node.to_value().to_string()));
    }
    if workloads.len() > 1 {
        bail!(
            "the resources are about {} workloads: {}\n  hint: convert those of one at a time",
            workloads.len(),
            workloads.into_iter().collect::<Vec<_>>().join(", ")
        );
    }
    let root = |namespace: &&str| *namespace != "istio-system";
    let namespaces: BTreeSet<&str> = documents
        .iter()
        .filter(|node| is_resource(node))
        .map(|document| document.text_at(&["metadata", "namespace"]).unwrap_or("default"))
        .filter(root)
        .collect();
    if namespaces.len() > 1 {
        let namespaces: Vec<&str> = namespaces.into_iter().collect();
        bail!(
            "the resources are of several namespaces: {}\n  hint: convert those of one at a time",
            namespaces.join(", ")
        );
    }
    Ok(())
}

fn provider(issuer: &str, rule: &Node, options: &Options, notes: &mut Notes) -> Provider {
    let mut provider = Provider { splits_scope: true, ..Provider::default() };
    let what = format!("issuer {issuer:?}");
    let mut section = Map::new();
    section.insert("issuer".to_owned(), json!(issuer));
    let audiences =
        rule.at(&["audiences"]).map(Node::to_value).filter(|list| list.as_array().is_some_and(|l| !l.is_empty()));
    section.insert("audiences".to_owned(), audiences.unwrap_or_else(|| options.audience(&what, rule.line, notes)));
    let inline = rule.text_at(&["jwks"]);
    section.insert("algorithms".to_owned(), json!(keys::algorithms(inline, options, &mut provider.comments)));
    let uri = rule.text_at(&["jwksUri"]).or_else(|| rule.text_at(&["jwks_uri"]));
    let cluster = |host: &str| {
        let (name, port) = host.split_once(':').unwrap_or((host, "443"));
        format!("outbound|{port}||{name}")
    };
    match (inline.and_then(|text| serde_json::from_str::<Value>(text).ok()), uri.and_then(split_url)) {
        (Some(keys), _) => drop(section.insert("jwks".to_owned(), json!({"inline": keys}))),
        (None, Some((host, path))) => {
            let jwks = json!({"cluster": cluster(&host), "path": path, "authority": host});
            section.insert("jwks".to_owned(), jwks);
        }
        (None, None) => {
            let host = split_url(issuer).map_or_else(|| issuer.to_owned(), |(host, _)| host);
            section.insert("discovery".to_owned(), json!({"cluster": cluster(&host)}));
        }
    }
    provider.comments.push("A mesh names its clusters so; the filter needs one with TLS to the issuer.".to_owned());
    let mut places = Vec::new();
    let elements = |field: &str| rule.at(&[field]).map(Node::elements).unwrap_or_default();
    for header in elements("fromHeaders") {
        let name = header.text_at(&["name"]).unwrap_or_default().to_ascii_lowercase();
        let prefix = header.text_at(&["prefix"]).unwrap_or_default();
        match prefix.strip_suffix(' ') {
            None if prefix.is_empty() => places.push(json!({"header": name})),
            Some(scheme) if !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                places.push(json!({"header": name, "scheme": scheme}));
            }
            _ => {
                let problem = format!("tokens after {prefix:?} have no equal: they are not found");
                notes.stricter(header.line, &what, &problem, "a scheme is one word before a space");
                provider.misses_places = true;
            }
        }
    }
    places.extend(elements("fromParams").iter().filter_map(Node::text).map(|name| json!({"query": name})));
    places.extend(elements("fromCookies").iter().filter_map(Node::text).map(|name| json!({"cookie": name})));
    let says_nothing = ["fromHeaders", "fromParams", "fromCookies"].iter().all(|field| elements(field).is_empty());
    if says_nothing {
        section.insert("token_from".to_owned(), keys::default_places(&mut provider.comments));
    } else if !places.is_empty() {
        section.insert("token_from".to_owned(), Value::Array(places));
    }
    section.insert("claims".to_owned(), json!({"leeway": "60s"}));
    let keeps = rule.is_true_at(&["forwardOriginalToken"]);
    let mut forward = Map::from_iter([("token".to_owned(), json!(if keeps { "keep" } else { "strip" }))]);
    let headers = elements("outputClaimToHeaders").iter();
    let headers = headers
        .filter_map(|part| Some((part.text_at(&["header"])?.to_ascii_lowercase(), json!(part.text_at(&["claim"])?))));
    let headers: Map<String, Value> = headers.collect();
    if !headers.is_empty() {
        forward.insert("headers".to_owned(), Value::Object(headers));
    }
    section.insert("forward".to_owned(), Value::Object(forward));
    if let Some(member) = rule.get("outputPayloadToHeader") {
        let problem = "the payload as a whole goes to no service";
        notes.note(member.line, &what, problem, "name the claims that are needed in `forward.headers`");
    }
    provider.section = section;
    provider
}
